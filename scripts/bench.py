#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs benchmark programs and peers in turns and puts the results together; called by scripts/bench.sh.

A row is {"family", "case", "ns", "hand_ns", "floor_ns", "peer", "peer_ns", "peer_form", "peer_forms"}: CPU time of our
code, of the same work written by hand, of what the machine's roofs allow, and of one peer in its fastest form (all forms:
{FORM: ns}); null where a column does not apply. Medians over all rounds. Families with experts add "rows", "experts",
"k" and "density" (active pairs of row and expert / all). A case CASE@VARIANT is compared with the peers' CASE.
"""

import argparse
import collections
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
program_of = {"dropout": "epilogue"}


class Peer:
    def __init__(self, python, script):
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, cwd=os.path.dirname(script))
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("it does not start")
        about = json.loads(line)
        self.name, self.version, self.cases = about["peer"], about["version"], about["cases"]

    def measure(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended while it measured {case}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def run_program(path, families):
    """{name: [cpu ns]}, {name: floor ns}, {name: {what: number}}, context"""
    pattern = "^(" + "|".join(families) + ")/"
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([path, f"--benchmark_filter={pattern}", "--benchmark_min_time=0.05", "--benchmark_repetitions=5",
                        "--benchmark_enable_random_interleaving=true", f"--benchmark_out={out.name}",
                        "--benchmark_out_format=json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result = json.load(open(out.name))
    times, floors, about = collections.defaultdict(list), {}, {}
    scale = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
    for b in result["benchmarks"]:
        if b.get("run_type") == "aggregate":
            continue
        times[b["run_name"]].append(b["cpu_time"] * scale[b["time_unit"]])
        if "floor_ns" in b:
            floors[b["run_name"]] = b["floor_ns"]
        about[b["run_name"]] = {what: b[what] for what in ("rows", "experts", "k", "density") if what in b}
    return times, floors, about, result["context"]


def machine():
    name, caches = platform.processor() or platform.machine(), {}
    try:
        with open("/proc/cpuinfo") as f:
            name = re.search(r"model name\s*:\s*(.*)", f.read())[1]
        base = "/sys/devices/system/cpu/cpu0/cache"
        for index in sorted(os.listdir(base)):
            if index.startswith("index"):
                read = lambda what: open(f"{base}/{index}/{what}").read().strip()
                caches[f"L{read('level')} {read('type')}"] = read("size")
    except (OSError, TypeError):
        pass
    return {"processor": name, "cores": os.cpu_count(), "caches": caches, "load": os.getloadavg()[0],
            "system": f"{platform.system()} {platform.machine()}"}


def short(ns):
    if ns is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else "-"


def table(rows):
    head = ("family/case", "ours", "hand/ours", "floor/ours", "peer", "peer/ours")
    lines = [(f"{r['family']}/{r['case']}", short(r["ns"]), ratio(r["hand_ns"], r["ns"]), ratio(r["floor_ns"], r["ns"]),
              (f"{r['peer']} ({r['peer_form']}) {short(r['peer_ns'])}" if r["peer"] else "-"),
              ratio(r["peer_ns"], r["ns"])) for r in rows]
    width = [max(len(l[i]) for l in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        print("  ".join(cell.ljust(w) if i in (0, 4) else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, width))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--peers", help="the Python of an environment with PyTorch, JAX and pandas")
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depth", type=int, action="append", help="family compile: only stacks of this depth")
    parser.add_argument("families", nargs="+")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as files:
        os.environ["ESPALIER_BENCH_FILES"] = files  # what the family read writes, and the peers read too
        measure(given)


def measure(given):
    programs = collections.OrderedDict()
    for family in given.families:
        path = os.path.join(given.build, "benchmarks", "bench_" + program_of.get(family, family))
        if family == "compile":
            continue
        if not os.path.exists(path):
            print(f"{family}: there is no {os.path.relpath(path, root)}, left out")
            continue
        programs.setdefault(path, []).append(family)

    peers = []
    if given.peers:
        scripts = ["jax_peer.py", "torch_peer.py"] if set(given.families) - {"read", "compile"} else []
        if "read" in given.families:
            scripts += ["numpy_read.py", "pandas_read.py"]
        if "comet" in given.families:
            scripts.append("published_peer.py")
        for script in scripts:
            try:
                peers.append(Peer(given.peers, os.path.join(root, "benchmarks", "peers", script)))
                print(f"peer: {peers[-1].name} {peers[-1].version}")
            except (RuntimeError, OSError, ValueError) as error:
                print(f"{script}: {error}; left out")

    times, floors, roofs = collections.defaultdict(list), collections.defaultdict(list), collections.defaultdict(list)
    about = {}
    others, broken = collections.defaultdict(lambda: collections.defaultdict(list)), set()
    try:
        for round_number in range(given.rounds):
            for path, families in programs.items():
                print(f"round {round_number + 1}/{given.rounds}: {', '.join(families)}", flush=True)
                measured, floor, described, context = run_program(path, families)
                about.update(described)
                for name, values in measured.items():
                    times[name] += values
                for name, value in floor.items():
                    floors[name].append(value)
                for key, value in context.items():
                    if key.startswith("roof_"):
                        roofs[key[5:]].append(float(value))
                for peer in peers:
                    for case in peer.cases:
                        if case.split("/")[0] not in families or (peer.name, case) in broken:
                            continue
                        answer = peer.measure(case)
                        for form, text in answer["failed"].items():
                            print(f"{peer.name} {case}, {form}: {text}")
                        for form, ns in answer["forms"].items():
                            others[peer.name, case][form].append(ns)
                        if not answer["forms"]:
                            broken.add((peer.name, case))
    finally:
        for peer in peers:
            peer.close()

    median = lambda values: statistics.median(values) if values else None
    rows = []
    for name in times:
        family, case, what = name.split("/")
        if what != "ours":
            continue
        key = f"{family}/{case}"
        row = {"family": family, "case": case, "ns": median(times[name]), "hand_ns": median(times.get(key + "/hand")),
               "floor_ns": median(floors.get(name)), "peer": None, "peer_ns": None, **about[name]}
        found = []
        for peer in peers:
            measured = others.get((peer.name, key.partition("@")[0]), {})
            forms = {form: median(values) for form, values in measured.items()}
            if forms:
                form = min(forms, key=forms.get)
                found.append({**row, "peer": peer.name, "peer_ns": forms[form], "peer_form": form, "peer_forms": forms})
        rows += found or [row]
    order = {f: i for i, f in enumerate(given.families)}
    rows.sort(key=lambda r: (order[r["family"]], r["case"], r["peer"] or ""))

    if "compile" in given.families:
        sys.path.insert(0, os.path.join(root, "benchmarks", "compile"))
        import compile as compile_family  # benchmarks/compile/compile.py

        rows += compile_family.programs()
        rows += compile_family.measure(given.build, which=given.depth or compile_family.depths)

    table(rows)
    best = {key: max(values) for key, values in roofs.items()}
    if best:
        print("\nroofs: " + ", ".join(f"{key} {value:.4g}" for key, value in sorted(best.items())))
    if given.json:
        commit = subprocess.run(["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        with open(given.json, "w") as out:
            json.dump({"rows": rows, "roofs": best, "machine": machine(),
                       "peers": {p.name: p.version for p in peers}, "commit": commit.stdout.strip() or None,
                       "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                       "rounds": given.rounds}, out, indent=1)
            out.write("\n")
        print(f"written: {given.json}")


if __name__ == "__main__":
    main()
