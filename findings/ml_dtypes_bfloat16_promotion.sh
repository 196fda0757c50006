#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with ml_dtypes 0.5.3 and numpy 2.2.6 (PyPI).
#
# Expected since NumPy 2 (NEP 50): a Python number takes the type of the array it meets, so that x + 1 and x + 0.1 have the
# type of x, as they have for float16.
#
# Behaviour for bfloat16:
#   - x + 1 is bfloat16, x + 0.1 is float32: the literal with a point takes the array out of 16 bits; so does clip(x, 0, 0.5)
#   - the matrix product of two bfloat16 matrices is float32, the dot product of two vectors bfloat16
#   - with a float16 array the sum is float32, with an int64 array or scalar float64
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check ml_dtypes==0.5.3 numpy==2.2.6
venv/bin/python -W ignore - <<'PROGRAM'
import sys

import ml_dtypes
import numpy

changed = []
bfloat16 = ml_dtypes.bfloat16


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


x = numpy.ones(4, bfloat16)
half = numpy.ones(4, numpy.float16)
cases = {
    "x + 1": (x + 1, half + 1, "bfloat16", "float16"),
    "x + 0.1": (x + 0.1, half + 0.1, "float32", "float16"),
    "clip(x, 0, 0.5)": (numpy.clip(x, 0, 0.5), numpy.clip(half, 0, 0.5), "float32", "float16"),
    "x.reshape(2, 2) @ x.reshape(2, 2)": (x.reshape(2, 2) @ x.reshape(2, 2), half.reshape(2, 2) @ half.reshape(2, 2),
                                          "float32", "float16"),
    "dot(x, x)": (numpy.dot(x, x), numpy.dot(half, half), "bfloat16", "float16"),
    "x + float16 array": (x + half, half + half, "float32", "float16"),
    "x + int64 scalar": (x + numpy.int64(1), half + numpy.int64(1), "float64", "float64"),
}
for what, (ours, theirs, expected, expected_of_half) in cases.items():
    seen(f"{what}: {ours.dtype} of bfloat16, {theirs.dtype} of float16",
         str(ours.dtype) == expected and str(theirs.dtype) == expected_of_half)

sys.exit(1 if changed else 0)
PROGRAM
