#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A space of specialisations: what each stack takes to train a step, what the roofs allow, and what it takes to compile.

    cmake --build build/release --target bench_space
    benchmarks/space.py build/release RESULTS.json

Every stack is compiled alone, with the flags of the build, against a program without one. scripts/bench_chart.py draws
RESULTS.json.
"""

import json
import os
import resource
import shlex
import subprocess
import sys

SOURCE = "benchmarks/space/space.cpp"


def cpu_seconds(command, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compile_command(build):
    """The build's own, without what stores objects."""
    commands = json.loads(subprocess.run(["ninja", "-t", "compdb"], cwd=build, check=True, stdout=subprocess.PIPE).stdout)
    for entry in commands:
        if entry["file"].endswith(SOURCE):
            words = shlex.split(entry["command"])
            words = words[1:] if os.path.basename(words[0]) == "ccache" else words
            return words[: words.index("-MD")] + ["-x", "c++", "-c", "-o", os.devnull]
    sys.exit("space.py: the build has no target bench_space (it needs Boost's headers)")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build, results = map(os.path.abspath, sys.argv[1:])
    program = os.path.join(build, "benchmarks", "bench_space")
    subprocess.run([program, results], check=True)
    names = subprocess.run([program, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    told = json.load(open(results))
    command, source = compile_command(build), os.path.abspath(os.path.join(os.path.dirname(__file__), "space", "space.cpp"))
    nothing = "#include <espalier/espalier.hpp>\n#include <espalier/space/compare.hpp>\nint main() {}\n"
    empty_file = os.path.join(build, "space_empty.cpp")
    with open(empty_file, "w") as out:
        out.write(nothing)
    empty = cpu_seconds([*command, empty_file], build)
    print(f"\ncompiling: headers alone {empty:.1f} s; with one stack, s more")
    for n, name in enumerate(names):
        more = cpu_seconds([*command, f"-DSPACE_PART={n}", source], build) - empty
        for row in told["rows"]:
            if row["case"] == name:
                row["compile_seconds"] = more
        print(f"{more:5.1f}  {name}")
    with open(results, "w") as out:
        json.dump(told, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
