#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with ml_dtypes 0.5.3 and numpy 2.2.6 (PyPI).
#
# Expected of a NaN in an array of bfloat16, which numpy.isnan finds: what NumPy does with one in float16 and float32. sort
# puts it last, unique keeps one, nanmean and nansum leave it out.
#
# Behaviour: without an error or a warning that says so,
#   - numpy.sort and argsort leave an array in which a NaN lies between two numbers unsorted, for the comparison with a NaN
#     is false either way; every median, quantile or threshold made from it is of unsorted numbers
#   - nanmean, nansum and their like give NaN: they look for a NaN only in types that NumPy counts as inexact, and
#     numpy.issubdtype(bfloat16, numpy.floating) is False
#   - unique keeps every NaN
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


for kind, sorted_right in ((bfloat16, False), (numpy.float16, True)):
    name = numpy.dtype(kind).name
    x = numpy.array([3, numpy.nan, 1], kind)
    order = [float(v) for v in numpy.sort(x)]
    seen(f"{name}: isnan {numpy.isnan(x).tolist()}, sort {order}, argsort {numpy.argsort(x).tolist()}",
         numpy.isnan(x)[1] and (order[:2] == [1.0, 3.0]) == sorted_right)
    mean, total = float(numpy.nanmean(x)), float(numpy.nansum(x))
    seen(f"{name}: nanmean {mean}, nansum {total}", (mean == 2.0) == sorted_right and (total == 4.0) == sorted_right)
    kept = len(numpy.unique(numpy.array([1, numpy.nan, numpy.nan], kind)))
    seen(f"{name}: unique of 1, NaN, NaN keeps {kept}", kept == (2 if sorted_right else 3))
seen(f"issubdtype(bfloat16, floating) is {numpy.issubdtype(bfloat16, numpy.floating)}, its kind {numpy.dtype(bfloat16).kind}",
     not numpy.issubdtype(bfloat16, numpy.floating) and numpy.dtype(bfloat16).kind == "V")

sys.exit(1 if changed else 0)
PROGRAM
