#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files of numpy.save are read by Espalier, and what Espalier writes is read by numpy.load, bit for bit.

usage: npy_roundtrip.py TOOL     (TOOL: the program built from npy_tool.cpp)
Exit status 77 (skipped) without the package numpy.
"""
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

TOOL = sys.argv[1]
FLOATS = ["f2", "f4", "f8"]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def tool(kind, source, target, *options):
    return subprocess.run([TOOL, kind, source, target, *options], capture_output=True, text=True, check=False)


def save(path, array, version=None):
    with open(path, "wb") as file:
        numpy.lib.format.write_array(file, array, version=version)


def same(path, expected):
    read = numpy.load(path)
    assert read.dtype == expected.dtype and read.shape == expected.shape, (read.dtype, read.shape, expected.dtype,
                                                                          expected.shape)
    assert read.flags.c_contiguous and read.tobytes() == numpy.ascontiguousarray(expected).tobytes(), (read, expected)


def values(kind, shape):
    generator = numpy.random.default_rng(3)
    if kind in FLOATS:
        array = generator.normal(size=shape)
        array.flat[:5] = [numpy.nan, numpy.inf, -numpy.inf, -0.0, numpy.finfo(kind).smallest_subnormal]
        return array.astype(kind)
    if kind == "b1":
        return generator.integers(0, 2, size=shape).astype(bool)
    limits = numpy.iinfo(kind)
    array = generator.integers(limits.min, limits.max, size=shape, dtype=kind, endpoint=True)
    array.flat[:2] = [limits.min, limits.max]
    return array


def every_variant(folder):
    """Each type, byte order, order of elements, version and rank, read as the type itself or one that holds it."""
    source, copy = os.path.join(folder, "source.npy"), os.path.join(folder, "copy.npy")
    number = 0
    for kind in FLOATS + INTEGERS + ["b1"]:
        as_type = {"f2": "float32", "b1": "uint8"}.get(kind, numpy.dtype(kind).name)
        for shape in [(7,), (5, 9), (300, 70)]:
            for byte_order in "<>":
                for order in "CF":
                    # One version each in turn: all of them with every type.
                    version = [(1, 0), (2, 0), (3, 0)][number % 3]
                    number += 1
                    array = values(kind, shape)
                    save(source, numpy.asarray(array.astype(array.dtype.newbyteorder(byte_order)), order=order), version)
                    done = tool(as_type, source, copy)
                    assert done.returncode == 0, (kind, shape, byte_order, order, done.stderr)
                    same(copy, array.astype(as_type))
    # Rounded to the nearest, as NumPy does.
    for kind, as_type in [("f8", "float32"), ("i8", "float32"), ("u8", "float64"), ("i4", "float32"), ("f4", "float64"),
                          ("u1", "int64"), ("i2", "float64")]:
        array = values(kind, (50, 4))
        save(source, array)
        assert tool(as_type, source, copy).returncode == 0
        same(copy, array.astype(as_type))
    print(f"{number} variants agree")


def bfloat(folder):
    source, copy = os.path.join(folder, "source.npy"), os.path.join(folder, "copy.npy")
    exact = (numpy.arange(24, dtype=numpy.float32) / 8 - 1).reshape(6, 4)
    arrays = [numpy.ascontiguousarray(exact.view(numpy.uint16)[:, 1::2]).view("V2")]
    if ml_dtypes:
        arrays.append(exact.astype(ml_dtypes.bfloat16))
    for array in arrays:
        numpy.save(source, array)
        assert tool("float32", source, copy, "bf16").returncode == 0
        same(copy, exact)
        refused = tool("float32", source, copy)
        assert refused.returncode == 3 and "two_bytes_are_bf16" in refused.stderr, refused.stderr
    print(f"bfloat16: {'as ml_dtypes writes it' if ml_dtypes else 'bytes only, ml_dtypes is not installed'}")


def flattened(folder):
    source, copy = os.path.join(folder, "source.npy"), os.path.join(folder, "copy.npy")
    for shape in [(), (4, 3, 2), (3, 2, 4, 5), (2, 1, 3), (0, 3, 2), (3, 0)]:
        array = numpy.random.default_rng(4).normal(size=shape)
        for order in "CF":
            numpy.save(source, numpy.asarray(array, order=order))
            assert tool("float64", source, copy, "flatten").returncode == 0
            rows = shape[0] if shape else 1
            same(copy, array.reshape(rows, int(numpy.prod(shape[1:]))))
            assert (tool("float64", source, copy).returncode == 3) == (len(shape) not in (1, 2))


def refused(folder):
    source, copy = os.path.join(folder, "source.npy"), os.path.join(folder, "copy.npy")

    def says(word, kind="float32"):
        done = tool(kind, source, copy)
        assert done.returncode == 3 and done.stderr.startswith(source + ": ") and word in done.stderr, done.stderr

    numpy.save(source, numpy.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]))
    says("structured dtype")
    save(source, numpy.array([(1, 2.0)], dtype=[("名", "i4"), ("b", "f8")]), (3, 0))
    says("structured dtype")
    numpy.save(source, numpy.array([None, "x"], dtype=object), allow_pickle=True)
    says("pickles")
    for array in [numpy.array(["a", "bc"]), numpy.array([1j]), numpy.array(["2020-01-01"], dtype="datetime64[D]"),
                  numpy.array([1.0], dtype=numpy.longdouble), numpy.array([b"abc"])]:
        numpy.save(source, array)
        says("the values are of type")
    with open(source, "wb") as file:
        numpy.savez(file, a=numpy.zeros(3))
    says(".npz")
    numpy.save(source, numpy.array([[1.0, 2.5]]))
    says("[0, 1], 2.5, is no whole number", "int32")


def damaged(folder):
    """What Espalier accepts of files damaged at random, NumPy reads as the same values."""
    source, copy = os.path.join(folder, "source.npy"), os.path.join(folder, "copy.npy")
    numpy.save(source, numpy.arange(6, dtype=numpy.float32).reshape(2, 3))
    with open(source, "rb") as file:
        good = file.read()
    generator = random.Random(5)
    counts = [0, 0]
    for _ in range(300):
        bad = bytearray(good)
        kind = generator.randrange(3)
        place = generator.randrange(len(bad))
        if kind == 0:
            bad[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            bad[place] = ord(generator.choice("0123456789(),:' <>fiub"))
        else:
            del bad[generator.randrange(len(bad)):]
        with open(source, "wb") as file:
            file.write(bad)
        status = tool("float32", source, copy).returncode
        assert status in (0, 3), (status, bytes(bad))
        counts[status == 3] += 1
        if status == 0:
            same(copy, numpy.load(source).astype(numpy.float32))
    assert counts[0] > 20 and counts[1] > 100, counts
    print(f"damaged files: {counts[1]} refused, {counts[0]} accepted by both")


with tempfile.TemporaryDirectory() as temporary:
    every_variant(temporary)
    bfloat(temporary)
    flattened(temporary)
    refused(temporary)
    damaged(temporary)
print(f"numpy {numpy.__version__}: both directions agree")
