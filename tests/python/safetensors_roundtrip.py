#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files of the Python package `safetensors` are read by Espalier and the other way round.

usage: safetensors_roundtrip.py TOOL     (TOOL: the program built from safetensors_tool.cpp)
Exit status 77 (skipped) without the packages numpy and safetensors.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

try:
    import numpy
    import safetensors
    import safetensors.numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TOOL = sys.argv[1]


def tool(*arguments):
    return subprocess.run([TOOL, *arguments], capture_output=True, text=True, check=False)


def load(path):
    """All tensors and the metadata, as the package reads them."""
    with safetensors.safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def in_row_order(tensors):
    """The package (0.8.0) writes an array as it lies in memory: the numbers of a transposed one in the wrong order, without
    a word. A scalar stays one."""
    return {name: numpy.ascontiguousarray(value).reshape(value.shape) for name, value in tensors.items()}


def same(one, other):
    assert one.keys() == other.keys(), (sorted(one), sorted(other))
    for name, value in one.items():
        assert value.dtype == other[name].dtype, (name, value.dtype, other[name].dtype)
        assert value.shape == other[name].shape, (name, value.shape, other[name].shape)
        assert value.tobytes() == other[name].tobytes(), name


def from_python(folder):
    generator = numpy.random.default_rng(1)
    tensors = {
        "scalar": numpy.array(3.25, dtype=numpy.float32),
        "empty": numpy.zeros((0, 3), dtype=numpy.float64),
        "flags": numpy.array([True, False, True]),
        "naïve/名前 \"quoted\"": generator.normal(size=(2, 3, 5)).astype(numpy.float32),
        "special": numpy.array([numpy.nan, numpy.inf, -numpy.inf, -0.0, 5e-324]),
        "half": generator.normal(size=(7,)).astype(numpy.float16),
        "transposed": generator.normal(size=(3, 4)).T,
        "large": generator.normal(size=(300, 500)).astype(numpy.float32),
    }
    for kind in "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split():
        limits = numpy.iinfo(kind)
        tensors[kind] = numpy.array([[limits.min, limits.max, 7]], dtype=kind)
    metadata = {"format": "np", "ключ": "line\nbreak \\ \"x\""}
    source, copy = os.path.join(folder, "python"), os.path.join(folder, "copy")
    safetensors.numpy.save_file(in_row_order(tensors), source, metadata=metadata)
    result = tool("copy", source, copy)
    assert result.returncode == 0, result.stderr
    read, read_metadata = load(copy)
    same(tensors, read)
    assert read_metadata == metadata, read_metadata

    # bfloat16 has no NumPy type: made by hand, and compared as bytes.
    header = json.dumps({"brain": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    with open(source, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(range(8)))
    assert tool("copy", source, copy).returncode == 0
    with safetensors.safe_open(copy, framework="np") as file:
        brain = file.get_slice("brain")
        assert (brain.get_dtype(), brain.get_shape()) == ("BF16", [2, 2])
    with open(copy, "rb") as file:
        assert file.read()[-8:] == bytes(range(8))


def to_python(folder):
    path = os.path.join(folder, "espalier")
    result = tool("write", path)
    assert result.returncode == 0, result.stderr
    tensors, metadata = load(path)
    same(tensors, {
        "0.mask": numpy.array([1, 0, 1, 1, 0], dtype=numpy.uint8),
        "0.kernel": (numpy.arange(12, dtype=numpy.float32) * 0.5 - 1).astype(numpy.float32).reshape(3, 4),
        "1/scale é \"q\"": (1 / numpy.arange(1, 4, dtype=numpy.float64)).reshape(3, 1),
        "step": numpy.array([-5, 10**12], dtype=numpy.int64),
        "scalar": numpy.array(42.0),
        "flags": numpy.array([True, False]),
        "empty": numpy.zeros((0, 7), dtype=numpy.float32),
    })
    assert metadata == {"format": "espalier", "note": "a \"quoted\"\nline"}, metadata


def damaged(folder):
    """What Espalier accepts, the reference accepts too, over files damaged at random."""
    path = os.path.join(folder, "damaged")
    good = safetensors.numpy.save(in_row_order({"a": numpy.arange(4, dtype=numpy.float32),
                                                "b": numpy.ones(3, dtype=numpy.uint8)}), metadata={"k": "v"})
    length = struct.unpack("<Q", good[:8])[0]
    generator = random.Random(7)
    accepted = refused = 0
    for _ in range(400):
        bad = bytearray(good)
        place = generator.randrange(8 + length + 4)
        kind = generator.randrange(3)
        if kind == 0:
            bad[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            bad[place] = ord(generator.choice("0123456789[]{},:\" FIUB"))
        else:
            del bad[place + 1:]
        with open(path, "wb") as file:
            file.write(bad)
        status = tool("check", path).returncode
        assert status in (0, 3), (status, bytes(bad))
        if status == 3:
            refused += 1
            continue
        accepted += 1
        try:
            with safetensors.safe_open(path, framework="np") as file:
                file.keys()
        except safetensors.SafetensorError as reason:
            raise AssertionError(f"accepted, but the reference says: {reason}: {bytes(bad)}") from reason
    assert accepted > 10 and refused > 100, (accepted, refused)
    print(f"damaged files: {refused} refused, {accepted} accepted by both")


with tempfile.TemporaryDirectory() as temporary:
    from_python(temporary)
    to_python(temporary)
    damaged(temporary)
print(f"safetensors {getattr(safetensors, '__version__', '?')}, numpy {numpy.__version__}: both directions agree")
