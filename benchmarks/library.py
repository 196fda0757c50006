#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Products by the library against the same loops compiled into the program: the ratio of times, run by turns.

    cmake --build build/release --target bench_product bench_product_headers
    benchmarks/library.py build/release [ROUNDS]
"""

import statistics
import sys

from turns import times_by_turns


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    times = times_by_turns(sys.argv[1], ["bench_product", "bench_product_headers"], rounds,
                           "^product/[0-9x]*(_input_gradient|_weight_gradient)?/ours")
    ratios = []
    for name, (library, headers) in times.items():
        ratios.append(min(library) / min(headers))
        print(f"{name:48} library / headers alone {ratios[-1]:.3f}")
    print(f"median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
