# SPDX-License-Identifier: Apache-2.0
"""What compiling costs, in a figure that depends neither on the machine nor on its load: the memory that GCC takes while
it compiles, which grows as its time does, as a ratio to that of an empty program (<functional>, <map>, <string>,
<vector>). Committed ratios, one table for each version of GCC, are what later ones are held to: 15 % more fails.
Other compilers and versions of GCC without a table only compile."""

import json
import os
import re
import subprocess

LIMIT = 1.15
EMPTY = "".join(f"#include <{h}>\n" for h in ("functional", "map", "string", "vector")) + "int main() {}\n"
UNITS = {"k": 1.0, "M": 1024.0, "G": 1024.0 * 1024.0}
# Memory is not given back while it compiles, whatever the machine has.
MEASURE = ["-fmem-report", "--param", "ggc-min-heapsize=100000000"]


def memory_of(report):
    """KiB used, from what -fmem-report prints of its pages: the lines of a size each, then the sum."""
    found = re.search(r"^Total\s+\d+[kMG]?\s+(\d+)([kMG])\s+\d+[kMG]?\s*$", report, re.MULTILINE)
    return int(found[1]) * UNITS[found[2]] if found else None


def version_of(compiler):
    """"gcc-12", or None for another compiler."""
    about = subprocess.run([compiler, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = re.search(r"^gcc version (\d+)", about, re.MULTILINE)
    return f"gcc-{found[1]}" if found else None


class Cost:
    """Compiles texts in a folder."""

    def __init__(self, command, folder):
        self.version = version_of(command[0])
        self.plain = command
        self.command = command + (MEASURE if self.version else [])
        self.folder = folder
        self.empty = self.compile(EMPTY, "empty")[1]

    def compile(self, text, name):
        """(what the compiler said when it failed, KiB)"""
        source = os.path.join(self.folder, re.sub(r"\W", "_", name) + ".cpp")
        with open(source, "w") as f:
            f.write(text)
        done = subprocess.run(self.command + [source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:  # said again, without the report on memory
            return subprocess.run(self.plain + [source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout, None
        return None, memory_of(done.stdout) if self.version else None


def judge(path, version, costs, write):
    """Sentences about what costs more than the table allows, and a word about the table. --write makes it anew."""
    tables = json.load(open(path)) if os.path.exists(path) else {}
    if version and write:
        tables[version] = costs
        with open(path, "w") as f:
            json.dump(tables, f, indent=1, sort_keys=True)
            f.write("\n")
    allowed = tables.get(version, {})
    if not allowed:
        return [], f"{version or 'this compiler'} has no table"
    wrong = []
    for name, cost in costs.items():
        if name not in allowed:
            wrong.append(f"{name} costs {cost} empty programs and is not in {path}: run this with --write")
        elif cost > LIMIT * allowed[name] + 0.02:  # GCC rounds to MB
            wrong.append(f"{name} costs {cost} empty programs, before it was {allowed[name]}: more than 15 % more")
    wrong += [f"{name} is in {path} and not there any more: run this with --write" for name in allowed if name not in costs]
    return wrong, "held to the table of " + version
