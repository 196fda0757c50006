#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/mechanisms.md from examples/methods/cards.json (what there is) and examples/methods/results.json (what the
programs found), and checks it.

    methods.py take FILE.json...    puts what programs wrote into results.json and writes the page
    methods.py check                the page is what the two files give; headers, tests and kernels that they name exist
    methods.py rows FILE.json...    programs print the rows that results.json has: the same cards, metrics and lines
    methods.py self-test
"""
import datetime
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/mechanisms.md"
CARDS = ROOT / "examples/methods/cards.json"
RESULTS = ROOT / "examples/methods/results.json"
LACKING = "lacking"

HEAD = """# Published mechanisms

What of the literature is in the library, and how it is known to work. A mechanism has a number of two digits, its card. Its
unit test holds numbers that were worked out elsewhere, from its paper or its authors' program. Its rows are trainings on real
data, or on a table that its paper computes, without it (baseline) and with it (ours), against a line that was fixed before:
`scripts/methods.sh` runs them and writes this page. A row that does not keep to its line says so. What has no such test or no
such row is marked as lacking.

"""
ROWS_HEAD = """
## Rows

Each is the mean over the seeds of its program in `examples/methods`, which `scripts/methods.sh NAME` runs alone. With `--quick`
a program trains one seed, as its test does, which asks what holds of every seed and not whether a mean keeps to its line.

"""
OTHERS_HEAD = """
## Without a card

Policies from papers that the catalogue of cards does not have. Their tests are against the equations.

"""


class Mistake(Exception):
    pass


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def links(paths, folder):
    return ", ".join(f"[{pathlib.PurePath(p).name}](../{folder}/{p})" for p in paths) or LACKING


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def found_rows(results):
    """(row, program) of all programs, in the order of their names."""
    return [(row, name) for name in sorted(results) for row in results[name]["rows"]]


def summary(card, results):
    """The first row of a card in full, and how many others there are."""
    rows = [row for row, _ in found_rows(results) if row["card"] == card]
    if not rows:
        return LACKING
    first = rows[0]
    judged = [r for r in rows if r["verdict"] != "no line"]
    holding = sum(r["verdict"] == "holds" for r in judged)
    return (f"{first['metric']}: baseline {first['baseline']}, ours {first['ours']}; {first['line']}: {first['verdict']} "
            f"({holding} of {len(judged)} lines hold)")


def kernel(name):
    return f"[{name}](../kernels/include/espalier/kernels/{name})" if name else "none: on the host"


def what(entry):
    return [links(entry["headers"], "include/espalier"), links(entry["golden"], "tests/unit")]


def render(cards, results):
    text = HEAD
    text += table(["card", "mechanism", "headers", "golden test", "on real data", "CPU", "CUDA body", "not there"],
                  [[c["card"][:2], c["name"], *what(c), summary(c["card"], results), "yes", kernel(c["cuda"]),
                    c["lacks"] or "-"] for c in cards["cards"]])
    text += ROWS_HEAD
    text += table(["card", "metric", "baseline", "ours", "line", "verdict", "program"],
                  [[r["card"], r["metric"], r["baseline"], r["ours"], r["line"],
                    r["verdict"] if r["verdict"] != "does not hold" else "**does not hold**", f"`{name}`"]
                   for r, name in sorted(found_rows(results), key=lambda found: found[0]["card"])])
    text += "\n"
    text += table(["program", "seeds", "CPU seconds", "run on"],
                  [[f"`{name}`", str(run["seeds"]), str(run["cpu_seconds"]), run["date"]]
                   for name, run in sorted(results.items())])
    text += OTHERS_HEAD
    text += table(["mechanism", "headers", "test", "on real data", "CPU", "CUDA body"],
                  [[o["name"], *what(o), LACKING, "yes", kernel(o["cuda"])] for o in cards["others"]])
    return text


def check_names(root, cards):
    """What the cards name and the folder does not have."""
    wrong = []
    for entry in cards["cards"] + cards["others"]:
        name = entry["name"]
        if "card" in entry and not re.fullmatch(r"\d\d( \w+)?", entry["card"]):
            wrong.append(f"{name}: '{entry['card']}' is no card: two digits, and a word where a card has parts")
        for header in entry["headers"]:
            if not (root / "include/espalier" / header).is_file():
                wrong.append(f"{name}: there is no header {header}")
        if entry["cuda"] and not (root / "kernels/include/espalier/kernels" / entry["cuda"]).is_file():
            wrong.append(f"{name}: there is no kernel body {entry['cuda']}")
        for file, tests in entry["golden"].items():
            path = root / "tests/unit" / file
            code = re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8")) if path.is_file() else ""
            wrong += [f"{name}: {file} has no test '{t}'" for t in tests if f'"{t}"' not in code]
    return wrong


def check_results(root, cards, results):
    known = {c["card"] for c in cards["cards"]}
    wrong = [f"a row of {name} is of card '{row['card']}', which is not among the cards"
             for row, name in found_rows(results) if row["card"] not in known]
    programs = {p.stem for p in (root / "examples/methods").glob("*.cpp")}
    wrong += [f"{name} has never run: scripts/methods.sh {name}" for name in sorted(programs - set(results))]
    return wrong + [f"there is no program {name} any more" for name in sorted(set(results) - programs)]


def check(root, cards, results, page):
    wrong = check_names(root, cards) + check_results(root, cards, results)
    wanted = render(cards, results).splitlines()
    for number, (line, want) in enumerate(zip(page.splitlines() + [""] * len(wanted), wanted), 1):
        if line != want:
            wrong.append(f"docs/mechanisms.md:{number} is not what scripts/methods.sh writes; it reads\n  {line}\nand ought "
                         f"to read\n  {want}")
            break
    else:
        if len(page.splitlines()) != len(wanted):
            wrong.append(f"docs/mechanisms.md has lines after the {len(wanted)} that scripts/methods.sh writes")
    return wrong


def same_rows(results, printed):
    """Rows that programs print now against those of their last run: cards, metrics and lines, in their order."""
    wrong = []
    for document in printed:
        name = document["program"]
        of = [[(r["card"], r["metric"], r["line"]) for r in rows]
              for rows in (document["rows"], results.get(name, {"rows": []})["rows"])]
        if of[0] != of[1]:
            wrong.append(f"{name} prints other rows than results.json has: scripts/methods.sh {name}")
    return wrong


def take(files):
    results = read(RESULTS) if RESULTS.is_file() else {}
    for document in map(read, files):
        results[document.pop("program")] = {"date": datetime.date.today().isoformat(), **document}
    for path, text in ((RESULTS, json.dumps(results, indent=1, sort_keys=True) + "\n"),
                       (PAGE, render(read(CARDS), results))):
        half = path.with_suffix(".new")
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)


def self_test():
    """Files that are right pass; of everything that can be wrong one is found."""
    cards, results = read(CARDS), read(RESULTS)
    page = render(cards, results)
    assert not check(ROOT, cards, results, page), check(ROOT, cards, results, page)

    def changed(edit):
        copies = json.loads(json.dumps([cards, results]))
        edit(*copies)
        return copies
    first = sorted(results)[0]
    for name, edit in {
            "header": lambda c, r: c["cards"][0]["headers"].append("layer/none_such.hpp"),
            "test": lambda c, r: c["cards"][0]["golden"].update({"layer/multi_sample.cpp": ["no such test"]}),
            "file of tests": lambda c, r: c["cards"][0]["golden"].update({"layer/none_such.cpp": ["a test"]}),
            "kernel": lambda c, r: c["cards"][0].update(cuda="none_such.hpp"),
            "number of a card": lambda c, r: c["cards"][0].update(card="1"),
            "card of a row": lambda c, r: r[first]["rows"][0].update(card="99"),
            "program": lambda c, r: r.update(none_such=r[first]),
            "program that never ran": lambda c, r: r.pop(first),
    }.items():
        its = changed(edit)
        if not check(ROOT, *its, render(*its)):
            raise Mistake(f"a wrong {name} was accepted")
    lines = page.splitlines(keepends=True)
    for name, text in {"a line left out": "".join(lines[:12] + lines[13:]), "a further line": page + "more\n",
                       "another number": page.replace(results[first]["rows"][0]["ours"], "1e9")}.items():
        if not check(ROOT, cards, results, text):
            raise Mistake(f"a page with {name} was accepted")
    document = {"program": first, "rows": json.loads(json.dumps(results[first]["rows"]))}
    assert not same_rows(results, [document])
    document["rows"][0]["line"] = "ours <= 1e9"
    if not same_rows(results, [document]):
        raise Mistake("another line was accepted")
    bad = changed(lambda c, r: r[first]["rows"][0].update(verdict="does not hold"))
    if "**does not hold**" not in render(*bad):
        raise Mistake("a row that does not hold is not shown as such")


def main(arguments):
    if arguments[:1] == ["take"] and len(arguments) > 1:
        take([pathlib.Path(a) for a in arguments[1:]])
        wrong = []
    elif arguments == ["check"]:
        wrong = check(ROOT, read(CARDS), read(RESULTS), PAGE.read_text(encoding="utf-8"))
    elif arguments[:1] == ["rows"] and len(arguments) > 1:
        wrong = same_rows(read(RESULTS), [read(pathlib.Path(a)) for a in arguments[1:]])
    elif arguments == ["self-test"]:
        self_test()
        wrong = []
    else:
        print(__doc__, file=sys.stderr)
        return 2
    print("\n".join(wrong) if wrong else "the page of mechanisms is right")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Mistake, OSError, KeyError, ValueError) as problem:
        print(f"methods.py: {problem!r}", file=sys.stderr)
        sys.exit(1)
