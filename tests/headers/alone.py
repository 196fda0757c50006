#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public header on its own, included twice, and what that costs a program.

    alone.py [--write] [--jobs N] BUDGET ROOT... -- COMPILER ARGUMENTS...

Each header must compile without another one before it. With GCC the memory that its front end takes is read as well: a
figure that does not depend on the machine or its load, and that grows as compile time does. The cost of a header is that
memory as a ratio to that of an empty program (<functional>, <map>, <string>, <vector>). BUDGET holds the ratios; one that
has grown by more than 15 % fails, and so does one that is not listed. --write makes BUDGET anew.

Only versions of GCC that BUDGET names are held to it: another library or compiler has other ratios.
"""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

LIMIT = 1.15
EMPTY = "".join(f"#include <{h}>\n" for h in ("functional", "map", "string", "vector")) + "int main() {}\n"
UNITS = {"k": 1.0, "M": 1024.0, "G": 1024.0 * 1024.0}


def memory_of(report):
    """KiB that GCC's front end took, from what -ftime-report prints; None without one."""
    found = re.search(r"^ TOTAL\s.*?(\d+)([kMG])\s*$", report, re.MULTILINE)
    return int(found[1]) * UNITS[found[2]] if found else None


def compile_text(command, text, folder, name):
    source = os.path.join(folder, re.sub(r"\W", "_", name) + ".cpp")
    with open(source, "w") as f:
        f.write(text)
    done = subprocess.run(command + [source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def headers_of(root):
    for folder, _, files in sorted(os.walk(root)):
        for file in sorted(files):
            if file.endswith(".hpp"):
                yield os.path.relpath(os.path.join(folder, file), root)


def version_of(compiler):
    """"gcc-12", or None for another compiler."""
    about = subprocess.run([compiler, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = re.search(r"^gcc version (\d+)", about, re.MULTILINE)
    return f"gcc-{found[1]}" if found else None


def main():
    if "--" not in sys.argv:
        sys.exit(__doc__)
    at = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("budget")
    parser.add_argument("roots", nargs="+")
    given = parser.parse_args(sys.argv[1:at])
    command = sys.argv[at + 1:] + ["-fsyntax-only"]
    version = version_of(command[0])
    if version:
        command += ["-ftime-report"]
    # Headers for nvcc alone are compiled by it.
    headers = [h for root in given.roots for h in headers_of(root) if "device/cuda/" not in h]
    budgets = json.load(open(given.budget)) if os.path.exists(given.budget) else {}
    allowed = budgets.get(version, {})
    failed = []
    costs = {}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        _, report = compile_text(command, EMPTY, folder, "empty")
        empty = memory_of(report) if version else None
        jobs = {h: pool.submit(compile_text, command, f"#include <{h}>\n" * 2, folder, h) for h in headers}
        for header, job in jobs.items():
            status, said = job.result()
            if status != 0:
                failed.append(f"{header} does not compile on its own:\n{said}")
                continue
            if version:
                costs[header] = round(memory_of(said) / empty, 3)
    if version and given.write:
        budgets[version] = costs
        with open(given.budget, "w") as f:
            json.dump(budgets, f, indent=1, sort_keys=True)
            f.write("\n")
    elif version and allowed:
        for header, cost in costs.items():
            if header not in allowed:
                failed.append(f"{header} costs {cost} empty programs and is not in {given.budget}: run with --write")
            elif cost > LIMIT * allowed[header] and cost > allowed[header] + 0.02:
                failed.append(f"{header} costs {cost} empty programs, {allowed[header]} is what it cost before: more than 15 % more")
        for header in allowed.keys() - costs.keys() - {None}:
            if not any(f.startswith(header + " ") for f in failed):
                failed.append(f"{header} is in {given.budget} and not there any more: run with --write")
    print("\n".join(failed))
    dearest = ", ".join(f"{h} {c}" for h, c in sorted(costs.items(), key=lambda c: -c[1])[:5])
    held = "held to the budget" if allowed else f"no budget for {version or 'this compiler'}"
    print(f"{len(headers)} headers, {len(failed)} failed; {held}; dearest: {dearest or 'not measured'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
