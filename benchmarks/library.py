#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Products by the library against the same loops compiled into the program: the ratio of times, run by turns.

    cmake --build build/release --target bench_product bench_product_headers
    benchmarks/library.py build/release [ROUNDS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile


def run(program):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([program, "--benchmark_filter=^product/[0-9x]*(_input_gradient|_weight_gradient)?/ours", "--benchmark_min_time=0.02", f"--benchmark_out={out.name}",
                        "--benchmark_out_format=json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {b["name"]: b["cpu_time"] for b in json.load(open(out.name))["benchmarks"]}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = os.path.join(sys.argv[1], "benchmarks")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    times = {"bench_product": {}, "bench_product_headers": {}}
    for _ in range(rounds):
        for program, found in times.items():
            for name, t in run(os.path.join(folder, program)).items():
                found.setdefault(name, []).append(t)
    ratios = []
    for name, library in times["bench_product"].items():
        headers = times["bench_product_headers"][name]
        ratios.append(min(library) / min(headers))
        print(f"{name:48} library / headers alone {ratios[-1]:.3f}")
    print(f"median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
