#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public header on its own, included twice, and what it costs a program to include it.

    alone.py [--write] [--jobs N] BUDGET ROOT... -- COMPILER ARGUMENTS...

Each header must compile without another one before it; its cost is held to that in BUDGET (tests/support/compile_cost.py).
Definitions, in folders named detail, may include what they like; other headers none of what is dear and rarely needed.
"""

import argparse
import concurrent.futures
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import compile_cost


DEAR = re.compile(r"^#include <(nlohmann/json\.hpp|filesystem|iostream|regex|thread)>", re.MULTILINE)


def headers_of(root):
    for folder, _, files in sorted(os.walk(root)):
        for file in sorted(files):
            if file.endswith(".hpp"):
                yield os.path.relpath(os.path.join(folder, file), root)


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
    # Headers for nvcc alone are compiled by it.
    headers = [h for root in given.roots for h in headers_of(root) if "device/cuda/" not in h]
    wrong, costs = [], {}
    for root, header in ((root, h) for root in given.roots for h in headers_of(root)):
        with open(os.path.join(root, header)) as f:
            found = DEAR.search(f.read())
        if found and "/detail/" not in header:
            wrong.append(f"{header} includes <{found[1]}>, which every program that includes it pays for: declare here and "
                         f"define in a header in detail/ and in the library")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        cost = compile_cost.Cost(sys.argv[at + 1:] + ["-fsyntax-only"], folder)
        jobs = {h: pool.submit(cost.compile, f"#include <{h}>\n" * 2, h) for h in headers}
        for header, job in jobs.items():
            said, memory = job.result()
            if said is not None:
                wrong.append(f"{header} does not compile on its own:\n{said}")
            elif memory is not None:
                costs[header] = round(memory / cost.empty, 3)
    about = "some do not compile"
    if not wrong:
        wrong, about = compile_cost.judge(given.budget, cost.version, costs, given.write)
    print("\n".join(wrong))
    dearest = ", ".join(f"{h} {c}" for h, c in sorted(costs.items(), key=lambda c: -c[1])[:5])
    print(f"{len(headers)} headers, {len(wrong)} wrong; {about}; dearest: {dearest or 'not measured'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
