#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a step pays for looking at every number: steps as they are against steps that look at none, by turns.

    cmake --build build/release --target bench_finite_headers bench_finite_unwatched
    benchmarks/finite.py build/release [ROUNDS]
"""

import statistics
import sys

from turns import times_by_turns


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    pairs = times_by_turns(sys.argv[1], ["bench_finite_headers", "bench_finite_unwatched"], rounds, "^finite/")
    for name, (watched, unwatched) in pairs.items():
        ratios = [a / b for a, b in zip(watched, unwatched)]
        print(f"{name:40} {min(watched):12.0f} ns, looking costs {100 * (min(watched) / min(unwatched) - 1):5.2f} % "
              f"(best runs), {100 * (statistics.median(ratios) - 1):5.2f} % (median of pairs)")


if __name__ == "__main__":
    main()
