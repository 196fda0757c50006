#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-29 with mlx 0.30.0 (CPU build, PyPI), safetensors 0.6.2, numpy 2.2.6.
#
# Expected of a safetensors file that MLX wrote, by somebody who knows the format's page and its reference package:
#   - without metadata there is no "__metadata__", or it is an empty object: the page calls it a map of strings to strings
#   - the header is padded with spaces, so that the data begin at a multiple of 8 bytes and a tensor can be used where it
#     lies in a mapped file
#   - a reader that takes tensors one by one refuses the one whose type it does not know
#
# Behaviour:
#   - "__metadata__" is null, also when an empty dictionary was given; the reference package takes that for no metadata
#   - the header is not padded and tensors follow in no order of size: a float32 tensor lies at an odd address of the file
#   - mx.load refuses a whole file because of one float64 tensor among others, which is how numpy's numbers are saved
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'mlx[cpu]==0.30.0' safetensors==0.6.2 numpy==2.2.6
venv/bin/python - <<'PROGRAM'
import json
import struct
import sys

import mlx.core as mx
import numpy
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def header_of(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), 8 + size


tensors = {"b": mx.zeros(1), "a": mx.ones(3, dtype=mx.uint8), "c": mx.ones(1)}
for name, arguments in (("plain", ()), ("empty", ({},))):
    mx.save_safetensors(f"{name}.safetensors", tensors, *arguments)
    header, begin = header_of(f"{name}.safetensors")
    seen(f"metadata, {name}: {header.get('__metadata__', 'absent')}", header.get("__metadata__", 0) is None)
with safe_open("plain.safetensors", "np") as file:
    seen(f"the reference package reads metadata {file.metadata()}", file.metadata() is None)
numbers = load_file("plain.safetensors")
seen(f"and the numbers {numbers}", numbers["c"][0] == 1.0 and list(numbers["a"]) == [1, 1, 1])

places = {name: begin + header[name]["data_offsets"][0] for name in tensors}
seen(f"bytes of the file at which tensors begin: {places}", places["b"] % 4 != 0)
save_file({name: numpy.asarray(value) for name, value in numbers.items()}, "reference.safetensors")
header, begin = header_of("reference.safetensors")
places = {name: begin + header[name]["data_offsets"][0] for name in numbers}
seen(f"the same written by the reference package: {places}", places["b"] % 4 == 0 and places["c"] % 4 == 0)

save_file({"wanted": numpy.ones(2, numpy.float32), "other": numpy.ones(2)}, "double.safetensors")
try:
    mx.load("double.safetensors")
    seen("mx.load reads a file with a float64 tensor", False)
except RuntimeError as problem:
    seen(f"mx.load of a file with one float64 tensor: {problem}", "F64" in str(problem))
sys.exit(1 if changed else 0)
PROGRAM
