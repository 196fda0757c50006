# SPDX-License-Identifier: Apache-2.0
"""Programs of Google Benchmark run by turns, so that a machine whose speed drifts treats them alike."""

import json
import os
import subprocess
import tempfile


def times_by_turns(build, programs, rounds, pattern, seconds=0.05):
    """{benchmark: [a list of CPU times in ns for each program]}, one time a round."""
    found = {}
    for _ in range(rounds):
        for at, program in enumerate(programs):
            with tempfile.NamedTemporaryFile(suffix=".json") as out:
                subprocess.run([os.path.join(build, "benchmarks", program), f"--benchmark_filter={pattern}",
                                f"--benchmark_min_time={seconds}", f"--benchmark_out={out.name}",
                                "--benchmark_out_format=json"],
                               check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for b in json.load(open(out.name))["benchmarks"]:
                    found.setdefault(b["name"], [[] for _ in programs])[at].append(b["cpu_time"])
    return found
