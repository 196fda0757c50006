#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with ml_dtypes 0.5.3 and numpy 2.2.6 (PyPI).
#
# Expected of a sum over an array of bfloat16: that of float16, where NumPy adds in pairs and its mean adds in float32; and
# that sum, mean and the dot product with ones agree.
#
# Behaviour: sum, mean, var and cumsum of bfloat16 add one number after the other in bfloat16, and stop growing where the
# next one is less than half a unit: 1000 ones have the sum 256 and the mean 0.2559, while dot(x, x) gives 1000 (it adds in
# float32). The variance of 0 ... 999 comes out as 147456 in place of 83333. arange makes steps of its own rounding: the last
# three numbers of arange(0, 1000) are 996, 1000, 1000.
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


x = numpy.ones(1000, bfloat16)
half = numpy.ones(1000, numpy.float16)
seen(f"1000 ones: sum {x.sum()}, mean {x.mean()}, last of cumsum {numpy.cumsum(x)[-1]}; float16: {half.sum()}, {half.mean()}",
     float(x.sum()) == 256 and abs(float(x.mean()) - 0.2559) < 1e-3 and float(numpy.cumsum(x)[-1]) == 256
     and half.sum() == 1000 and half.mean() == 1)
seen(f"dot of them: {numpy.dot(x, x)}", float(numpy.dot(x, x)) == 1000)
spread = float(numpy.arange(1000).astype(bfloat16).var())
exact = float(numpy.arange(1000.0).var())
seen(f"variance of 0 ... 999: {spread}, in float64 {exact}", spread > 1.5 * exact)
last = [float(v) for v in numpy.arange(0, 1000, dtype=bfloat16)[-3:]]
seen(f"the last of arange(0, 1000): {last}", last == [996.0, 1000.0, 1000.0])

sys.exit(1 if changed else 0)
PROGRAM
