#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs what depends on changed files, and a sample of the rest, in a few minutes (scripts/test.sh --quick).

    quick.py --root FOLDER [--since REV] [--seed N] [--jobs N] [--seconds N]
    quick.py --self-test

Changed is what differs from REV in the working tree, new files included. What depends on it is what ninja wrote down when
it built last (and what is out of date), for tests that call a compiler themselves the files they name and
what those include. What would take longer than there is time for is left out and counted; nearest to the change comes
first: the changed file itself, then tests of the same folder, then the others in an order drawn by the seed.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

# A tenth of the time is for what depends on nothing that was changed.
SAMPLE = 0.1
PRESETS = ("release", "asan", "cuda")
# Objects that are only compiled; what belongs to other targets is linked and run.
COMPILED_ONLY = ("espalier_headers_alone", "espalier_headers_alone_ptx", "espalier_headers_alone_cuda",
                 "espalier_cuda_objects")


class Problem(Exception):
    """What the user has to know, in a sentence."""


def output_of(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{shlex.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def changed_files(root, since):
    """The revision compared with, and the absolute paths of what differs from it."""
    if shutil.which("git") is None:
        raise Problem("--quick asks git what was changed, and git is not installed")
    output_of(["git", "rev-parse", "--git-dir"], root)
    if since is None:
        for name in ("origin/main", "main", "origin/HEAD"):
            found = subprocess.run(["git", "merge-base", "HEAD", name], cwd=root, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, check=False)
            if found.returncode == 0:
                since = found.stdout.strip()
                break
        else:
            raise Problem("there is no branch main to compare with: name a revision with --since")
    elif subprocess.run(["git", "rev-parse", "--verify", "--quiet", since + "^{commit}"], cwd=root,
                        stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise Problem(f"git knows no revision '{since}'")
    names = output_of(["git", "diff", "--name-only", "-z", since, "--"], root)
    names += output_of(["git", "ls-files", "--others", "--exclude-standard", "-z"], root)
    return since, {root / name for name in names.split("\0") if name}


class Includes:
    """Which files of this project a source file includes, directly or not."""

    def __init__(self, root):
        self.folders = (root / "include", root / "kernels" / "include", root / "tests", root)
        self.known = {}

    def direct(self, path):
        if path not in self.known:
            names = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(encoding="utf-8", errors="replace"),
                               re.MULTILINE)
            candidates = [[folder / name for folder in (path.parent, *self.folders)] for name in names]
            self.known[path] = [next(p for p in options if p.is_file()) for options in candidates
                                if any(p.is_file() for p in options)]
        return self.known[path]

    def closure(self, paths):
        found, todo = set(), [path.resolve() for path in paths]
        while todo:
            path = todo.pop()
            if path not in found:
                found.add(path)
                todo += [p.resolve() for p in self.direct(path)]
        return found


class Check:
    """Something that can be built or run by itself."""

    def __init__(self, preset, kind, name, sources, needs, seconds):
        self.preset, self.kind, self.name = preset, kind, name
        self.sources = sources  # what it tests, as far as a path says so
        self.needs = needs      # every file it depends on
        self.seconds = seconds
        self.dirty = False

    def rank(self, changed):
        """0 for the nearest to the change; 2 for what depends on it from far; 3 for what does not."""
        if self.sources & changed:
            return 0
        if not self.dirty and not self.needs & changed:
            return 3
        areas = {path.parent.name for path in changed}
        return 1 if any(path.parent.name in areas for path in self.sources) else 2


def parse_deps(text, folder):
    """{object: files} of what `ninja -t deps` prints."""
    found, files = {}, None
    for line in text.splitlines():
        if line.startswith("    "):
            files.add(pathlib.Path(os.path.normpath(folder / line.strip())))
        elif ": #deps " in line:
            files = found[line.split(": #deps ")[0]] = set()
    return found


def parse_log(text):
    """{output: seconds} of .ninja_log; the last line of an output counts."""
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {line[3]: (int(line[1]) - int(line[0])) / 1000 for line in lines if len(line) == 5}


def out_of_date(output, files):
    """Not built, or older than a file it was built from. (`ninja -n` sees nothing but the globs that it would verify.)"""
    if files is None or not output.exists():
        return True
    built = output.stat().st_mtime
    return any(not file.exists() or file.stat().st_mtime > built for file in files)


def target_of(output):
    """The target that an object belongs to; of objects that are a target of their own, the program linked from them."""
    match = re.search(r"CMakeFiles/([^/]+)\.dir/", output)
    return match.group(1).removesuffix("_object") if match else None


def checks_of_objects(preset, folder, root):
    """A check for every object of the unit tests and of what is only compiled, and one for every other program."""
    # CMake before 3.26 does not name the output but in the command.
    objects = {re.search(r" -o (\S+)", entry["command"]).group(1): pathlib.Path(entry["file"])
               for entry in json.loads((folder / "compile_commands.json").read_text(encoding="utf-8"))}
    # Of the sanitizers' and the CUDA folder what scripts/test.sh builds there.
    if preset == "asan":
        objects = {output: source for output, source in objects.items() if target_of(output) == "espalier_tests"}
    elif preset == "cuda":
        objects = {output: source for output, source in objects.items() if source.suffix == ".cu"}
    deps = parse_deps(output_of(["ninja", "-t", "deps"], folder), folder)
    log = folder / ".ninja_log"
    seconds = parse_log(log.read_text(encoding="utf-8")) if log.exists() else {}
    dirty = {output for output in objects if out_of_date(folder / output, deps.get(output))}
    by_target = collections.defaultdict(list)
    for output, source in objects.items():
        target = target_of(output)
        alone = target in COMPILED_ONLY or (target == "espalier_tests" and source.name != "main.cpp")
        by_target[(target, output if alone else None)].append((output, source))
    typical = collections.defaultdict(list)
    for output in objects:
        if output in seconds:
            typical[target_of(output)].append(seconds[output])
    found = []
    for (target, output), members in by_target.items():
        if target == "espalier_tests" and output is None:
            continue
        usual = statistics.median(typical[target]) if typical[target] else 5.0
        needs, sources, cost = set(), set(), 0.0
        for name, source in members:
            files = deps.get(name, set()) | {source}
            needs |= {file for file in files if root in file.parents}
            sources |= {source} if folder not in source.parents else {
                file for file in files if file.is_relative_to(root) and folder not in file.parents
                and re.sub(r"[^A-Za-z0-9]", "_", str(file)).endswith("_" + source.stem)}
            cost += seconds.get(name, usual) if name in dirty else 0.05
        kind = "unit test" if target == "espalier_tests" else "object" if output else "program"
        check = Check(preset, kind, output or target, sources, needs, cost)
        check.dirty = any(name in dirty for name, _ in members)
        found.append(check)
    return found


def checks_of_ctest(preset, folder, root, includes, library):
    """A check for every test that is no program of this build: it runs a compiler or CMake itself."""
    listed = json.loads(output_of(["ctest", "--show-only=json-v1"], folder))["tests"]
    costs = {}
    cost_file = folder / "Testing" / "Temporary" / "CTestCostData.txt"
    if cost_file.exists():
        rows = [line.split() for line in cost_file.read_text(encoding="utf-8").splitlines()]
        costs = {row[0]: float(row[2]) for row in rows if len(row) == 3}
    found = []
    for test in listed:
        labels = next((p["value"] for p in test["properties"] if p["name"] == "LABELS"), [])
        if not {"compile", "compile_fail", "docs", "consumer", "scripts"} & set(labels):
            continue
        if preset != "release" and "cuda" not in labels:
            continue
        paths = [pathlib.Path(word) for word in test.get("command", []) if word.startswith(str(root) + "/")]
        sources = {path.resolve() for path in paths if path.is_file() and folder not in path.parents}
        needs = includes.closure(p for p in sources if p.suffix in (".cpp", ".hpp", ".cu")) | sources
        if "docs" in labels:
            needs |= includes.closure([root / "tests" / "docs" / "prelude.hpp"])
        if "consumer" in labels:
            needs |= library
        found.append(Check(preset, "ctest", test["name"], {p for p in sources if p.suffix != ".py"}, needs,
                           costs.get(test["name"], 5.0)))
    return found


def choose(checks, changed, seed, seconds):
    """(chosen, number left out by kind): by rank until the time is spent, and a sample of what does not depend on it."""
    order = random.Random(seed)
    ranked = sorted(((check.rank(changed), order.random(), check) for check in checks), key=lambda row: row[:2])
    chosen, left = [], collections.Counter()
    room = {"near": seconds * (1 - SAMPLE), "sample": seconds * SAMPLE}
    for rank, _, check in ranked:
        purse = "sample" if rank == 3 else "near"
        if rank == 0 or check.seconds <= room[purse]:
            room[purse] -= check.seconds
            chosen.append(check)
        elif rank < 3:
            left[f"{check.kind} of {check.preset}"] += 1
    return chosen, left


def run(command, folder):
    """True when it went well; its output is the user's."""
    sys.stdout.flush()
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


def unit_tests(folder, outputs, jobs):
    """Links the program of the unit tests from these objects alone, and runs it."""
    link = output_of(["ninja", "-t", "commands", "-s", "tests/espalier_tests"], folder).strip().splitlines()[-1]
    words = shlex.split(link.replace("&& :", "").replace(": &&", ""))
    is_object = lambda word: target_of(word) == "espalier_tests" and word.endswith(".o")
    rest = [word for word in words if not is_object(word)]
    main = [word for word in words if is_object(word) and word.endswith("/main.cpp.o")]
    libraries = [word for word in rest if word.endswith((".a", ".so")) and not word.startswith(("/", "-"))]
    if not run(["ninja", "-j", str(jobs), *main, *libraries], folder):
        return False
    rest[rest.index("-o") + 1] = "quick_tests"
    at = rest.index("-o")
    if not run(rest[:at] + main + outputs + rest[at:], folder):
        return False
    tags = ",".join(sorted(f"[#{pathlib.Path(output).name.removesuffix('.cpp.o')}]" for output in outputs))
    return run(["./quick_tests", "--filenames-as-tags", tags], folder)


def work_on(preset, folder, chosen, jobs):
    """The names of what failed."""
    failed = []
    names = {kind: [check.name for check in chosen if check.kind == kind] for kind in
             ("unit test", "object", "program", "ctest")}
    targets = names["unit test"] + names["object"] + names["program"]
    if targets and not run(["ninja", "-j", str(jobs), "-k", "0", *targets], folder):
        failed.append(f"{preset}: the build")
    # What did not build is not run.
    units = [name for name in names["unit test"] if (folder / name).exists()]
    if units and not failed and not unit_tests(folder, units, jobs):
        failed.append(f"{preset}: unit tests")
    tests = names["ctest"] + names["program"]
    if tests:
        # A test of a program may have its name with a point: stand_in.NAME of stand_in_NAME.
        regex = "^(" + "|".join(re.escape(name).replace("_", "[._]") for name in tests) + ")$"
        if not run(["ctest", "--output-on-failure", "--no-tests=ignore", "--parallel", str(jobs), "-R", regex], folder):
            failed.append(f"{preset}: ctest")
    return failed


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--root", type=pathlib.Path)
    parser.add_argument("--since")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=int, default=210, help="of compiling and running, on all processors together")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if not arguments.root:
        parser.error("--root is needed")
    began = time.monotonic()
    root = arguments.root.resolve()
    since, changed = changed_files(root, arguments.since)
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10000)
    includes = Includes(root)
    library = {path for folder in ("include", "kernels", "cmake") for path in (root / folder).rglob("*") if path.is_file()}
    checks = []
    folders = {preset: root / "build" / preset for preset in PRESETS if (root / "build" / preset / "build.ninja").exists()}
    for preset, folder in folders.items():
        # Files that have come or gone since the last configuration.
        output_of(["ninja", "build.ninja"], folder)
        checks += checks_of_objects(preset, folder, root) + checks_of_ctest(preset, folder, root, includes, library)
    chosen, left = choose(checks, changed, seed, arguments.seconds * arguments.jobs)
    near = [check for check in chosen if check.rank(changed) < 3]
    print(f"\n== {len(changed)} files differ from {since[:12]}; {len(near)} checks depend on them and {len(chosen) - len(near)} "
          f"are a sample of the rest (seed {seed}); not built here: "
          f"{', '.join(p for p in PRESETS if p not in folders) or 'nothing'}")
    failed = []
    for preset, folder in folders.items():
        failed += work_on(preset, folder, [check for check in chosen if check.preset == preset], arguments.jobs)
    print(f"\n== After {time.monotonic() - began:.0f} s (seed {seed})")
    for kind, count in sorted(left.items()):
        print(f"left out for want of time: {count} x {kind}; scripts/test.sh does all")
    print(f"FAILED in: {'; '.join(failed)}" if failed else f"total: {len(chosen)} checks passed")
    return 1 if failed else 0


def self_test():
    """Files that are read are understood, what is near is chosen first, and bad input gets a sentence."""
    folder = pathlib.Path("/b")
    deps = parse_deps("a.o: #deps 2, deps mtime 1 (VALID)\n    ../s/a.cpp\n    /s/h.hpp\n\nb.o: #deps 0, deps mtime 1 (STALE)\n",
                      folder)
    assert deps == {"a.o": {pathlib.Path("/s/a.cpp"), pathlib.Path("/s/h.hpp")}, "b.o": set()}, deps
    assert parse_log("# ninja log v5\n0\t1500\t0\ta.o\tx\n0\t500\t0\ta.o\tx\n") == {"a.o": 0.5}
    assert target_of("tests/CMakeFiles/espalier_tests.dir/unit/core/pack.cpp.o") == "espalier_tests"
    changed = {pathlib.Path("/s/include/core/pack.hpp")}

    def check(name, needs, seconds):
        return Check("release", "object", name, {pathlib.Path(name)}, {pathlib.Path(n) for n in needs} | {pathlib.Path(name)},
                     seconds)

    same, far, other = (check("/s/tests/core/a.cpp", map(str, changed), 5), check("/s/tests/gate/b.cpp", map(str, changed), 5),
                        check("/s/tests/io/c.cpp", [], 1))
    assert [c.rank(changed) for c in (same, far, other)] == [1, 2, 3]
    assert check("/s/include/core/pack.hpp", [], 1).rank(changed) == 0
    chosen, left = choose([other, far, same], changed, 1, 10)
    assert chosen == [same, other] and left == {"object of release": 1}, (chosen, left)
    assert choose([other, far, same], changed, 1, 12)[0] == [same, far, other]
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name).resolve()
        (root / "include").mkdir()
        (root / "include" / "a.hpp").write_text("#include <b.hpp>\n#include <vector>\n")
        (root / "include" / "b.hpp").write_text("#pragma once\n")
        (root / "m.cpp").write_text("#include <a.hpp>\n")
        names = {path.name for path in Includes(root).closure([root / "m.cpp"])}
        assert names == {"m.cpp", "a.hpp", "b.hpp"}, names
        (root / "new.hpp").write_text("")
        os.utime(root / "m.cpp", (1000, 1000))
        (root / "m.o").write_text("")
        assert not out_of_date(root / "m.o", {root / "m.cpp"})
        os.utime(root / "m.o", (900, 900))
        assert out_of_date(root / "m.o", {root / "m.cpp"}) and out_of_date(root / "none.o", set())
        assert out_of_date(root / "m.o", None)
        if shutil.which("git") is None:  # a bare system, where --quick says so
            try:
                changed_files(root, None)
            except Problem as problem:
                assert "git is not installed" in str(problem), problem
            else:
                raise AssertionError("no git")
            return 0
        for words, since in (("not a git repository", None), ("knows no revision", "nowhere")):
            try:
                changed_files(root, since)
            except Problem as problem:
                assert words in str(problem), problem
            else:
                raise AssertionError(words)
            subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], cwd=root, check=True)
        assert root / "new.hpp" in changed_files(root, "HEAD")[1]
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, OSError) as problem:
        print(f"\ntest.sh: {problem}", file=sys.stderr)
        sys.exit(1)
