#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what a change of a stack instantiates.

    count_instances.py instances.cpp -- COMPILER ARGUMENTS...

Two stacks that differ in numbers only share every loop over memory; a difference in structure adds the loops it needs
and no other. The loops are read from the object files with nm.
"""

import os
import re
import subprocess
import sys
import tempfile

# A loop over memory is a function of one of these names; what it is specialised on is what follows.
LOOP = re.compile(r"espalier::cpu::(?:\w+::)?(?:epilogue_forward|epilogue_backward|update|row_loss|row_forward|route|route_backward)<.*")
# (what was changed, macros, pieces that each added loop names, in any order)
CASES = [
    ("other numbers", ["NUMBERS=1", "STRUCTURE=0"], []),
    ("schedules in place of numbers", ["NUMBERS=2", "STRUCTURE=0"], []),
    ("another activation in one layer", ["NUMBERS=0", "STRUCTURE=1"],
     [("epilogue_forward", "tanh"), ("epilogue_backward", "tanh")]),
    ("one more penalty in one layer", ["NUMBERS=0", "STRUCTURE=2"],
     [("update", "no_step", "l1_op"), ("update", "adamw_op", "l1_op")]),
    ("groups that are shrunk after the step", ["NUMBERS=0", "STRUCTURE=3"],
     [("update", "no_step", "group_lasso_op"), ("update", "adamw_op", "group_lasso_op")]),
]


def loops(command, source, macros, folder):
    target = os.path.join(folder, "object.o")
    subprocess.run(command + ["-D" + m for m in macros] + ["-c", source, "-o", target], check=True)
    listed = subprocess.run(["nm", "-C", "--defined-only", target], check=True, stdout=subprocess.PIPE, text=True)
    # "0000 W void espalier::cpu::update<...>(...)": the name from its namespace on
    return {found.group(0) for line in listed.stdout.splitlines()
            if (found := LOOP.search(line)) and "{lambda" not in line and line.split()[1] in "tTwW"}


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit(__doc__)
    source, command = sys.argv[1], sys.argv[3:]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        before = loops(command, source, ["NUMBERS=0", "STRUCTURE=0"], folder)
        print(f"the stack has {len(before)} loops:")
        for name in sorted(before):
            print("   ", name[:160])
        if len(before) < 6:
            print("that is fewer than it must have: are the names above still those of the loops?")
            wrong += 1
        for what, macros, expected in CASES:
            after = loops(command, source, macros, folder)
            added, removed = sorted(after - before), sorted(before - after)
            print(f"{what}: {len(added)} added, {len(removed)} removed; expected {len(expected)} and 0")
            unmatched = list(added)
            for pieces in expected:
                fits = [name for name in unmatched if all(piece in name for piece in pieces)]
                if len(fits) != 1:
                    print("    expected exactly one with", ", ".join(pieces))
                    wrong += 1
                unmatched = [name for name in unmatched if name not in fits]
            for name in unmatched + removed:
                print("    not expected:", name[:300])
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
