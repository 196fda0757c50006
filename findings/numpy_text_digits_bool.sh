#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with numpy 2.4.6, 2.0.2 and 1.26.4 (PyPI).
#
# Expected of the digits "0" and "1", as text, cast to bool: their values, as astype(int).astype(bool) has them and as NumPy 1
# did; or an error.
#
# Behaviour: since NumPy 2 every text that is not empty is True, "0" too; casts to int still read the number. Programs that
# make binary codes from numpy.binary_repr get rows of ones without a word. One of them is the published gate of DSelect-k
# (Hazimeh et al. 2021): with NumPy 2 the codes of all experts are 11...1, so all experts have one and the same weight,
# whatever is learned, and the weights need not add up to 1.
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

experts, bits = 4, 2
codes = numpy.array([list(numpy.binary_repr(i, width=bits)) for i in range(experts)])
as_bool, as_number = codes.astype(bool), codes.astype(int).astype(bool)
bit = numpy.array([0.9, 0.2])  # how much a selector wants each bit to be 1
weights = numpy.where(as_bool, bit, 1 - bit).prod(axis=1).round(4).tolist()
numbers = numpy.where(as_number, bit, 1 - bit).prod(axis=1).round(4).tolist()
print(f"numpy {numpy.__version__}: codes {as_bool.astype(int).tolist()}, weights {weights}; by way of int {numbers}")
right = numbers == [0.08, 0.02, 0.72, 0.18]
sys.exit(0 if right and weights == ([0.18] * 4 if sys.argv[1] == "all" else numbers) else 1)
PROGRAM
changed=0
look() { # VERSION, "all" or "digits": which texts are True
  venv/bin/python -m pip install --quiet --disable-pip-version-check "numpy==$1"
  if venv/bin/python -W ignore look.py "$2"; then
    echo "as found  with numpy $1"
  else
    echo "CHANGED   with numpy $1"
    changed=1
  fi
}
look 1.26.4 digits
look 2.0.2 all
look 2.4.6 all
exit $changed
