#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with safetensors 0.8.0 and 0.7.0 (PyPI) and numpy 2.2.6.
#
# Expected of saving a transposed array (a weight turned from out x in to in x out, say) with safetensors.numpy: its numbers,
# as up to 0.7.0, or an error.
#
# Behaviour: 0.8.0 writes the array's shape and its bytes in the order in which they lie in memory, which is that of the
# array before it was transposed. The file is valid, the shape right, and the numbers stand in wrong places; `save` and
# `save_file` alike, also for arrays in Fortran's order. numpy.ascontiguousarray before saving gives the right file.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
cat >look.py <<'PROGRAM'
import sys

import numpy
import safetensors
import safetensors.numpy

whole = numpy.arange(6, dtype=numpy.float32).reshape(3, 2)
turned = whole.T
fortran = numpy.asfortranarray(turned.copy())
scrambled = whole.ravel().reshape(2, 3)
expected = scrambled if sys.argv[1] == "scrambled" else turned
wrong = 0
for name, array, wanted in (
    ("transposed", turned, expected),
    ("Fortran's order", fortran, expected),
    ("ascontiguousarray", numpy.ascontiguousarray(turned), turned),
):
    safetensors.numpy.save_file({"w": array}, "w.safetensors")
    read = safetensors.numpy.load_file("w.safetensors")["w"]
    same = safetensors.numpy.load(safetensors.numpy.save({"w": array}))["w"]
    holds = numpy.array_equal(read, wanted) and numpy.array_equal(same, wanted)
    wrong += not holds
    print(f"{'as found' if holds else 'CHANGED '}  {safetensors.__version__}, {name}: {array.tolist()} is read as {read.tolist()}")
sys.exit(1 if wrong else 0)
PROGRAM
status=0
for case in "0.7.0 right" "0.8.0 scrambled"; do
  read -r version how <<<"$case"
  venv/bin/python -m pip install --quiet --disable-pip-version-check "safetensors==$version" numpy==2.2.6
  venv/bin/python look.py "$how" || status=1
done
exit $status
