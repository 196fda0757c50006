#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with ml_dtypes 0.5.3 and numpy 2.2.6 (PyPI).
#
# Expected of an array of a small floating-point type in an .npy file: a header that says which type it is, or an error
# where numpy.save cannot say it; that numpy.load reads what numpy.save wrote; two int4 numbers in a byte.
#
# Behaviour:
#   - eight-bit floats of five kinds, six-bit and four-bit floats and int2, int4, uint4 have one and the same header, '<V1',
#     with a byte for every number; bfloat16 has '<V2'. numpy.load gives raw bytes without a word: whoever reads must know
#     the type and call view()
#   - float8_e5m2 alone has '<f1', and numpy.load refuses the file with ValueError: the array is saved, and cannot be loaded
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check ml_dtypes==0.5.3 numpy==2.2.6
venv/bin/python -W ignore - <<'PROGRAM'
import io
import sys

import ml_dtypes
import numpy

changed = []
bfloat16 = ml_dtypes.bfloat16


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def saved(kind):
    file = io.BytesIO()
    numpy.save(file, numpy.ones(6, kind))
    return file.getvalue()


def descriptor(data):
    return data.split(b"'descr': '")[1].split(b"'")[0].decode()


alike = ["float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float8_e3m4", "float8_e8m0fnu", "float6_e2m3fn",
         "float4_e2m1fn", "int2", "int4", "uint4"]
for name in alike:
    data = saved(getattr(ml_dtypes, name))
    loaded = numpy.load(io.BytesIO(data))
    seen(f"{name}: header {descriptor(data)}, {len(data) - 128} bytes for 6 numbers, loaded as {loaded.dtype}",
         descriptor(data) == "<V1" and len(data) == 134 and loaded.dtype == numpy.dtype("V1"))
data = saved(bfloat16)
loaded = numpy.load(io.BytesIO(data))
seen(f"bfloat16: header {descriptor(data)}, loaded as {loaded.dtype}; after view() {loaded.view(bfloat16)[0]}",
     descriptor(data) == "<V2" and loaded.dtype == numpy.dtype("V2") and loaded.view(bfloat16)[0] == 1)
data = saved(ml_dtypes.float8_e5m2)
try:
    numpy.load(io.BytesIO(data))
    refused = "no error"
except ValueError as error:
    refused = f"ValueError: {error}"
seen(f"float8_e5m2: header {descriptor(data)}, loading gives {refused}",
     descriptor(data) == "<f1" and refused.startswith("ValueError"))

sys.exit(1 if changed else 0)
PROGRAM
