#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""numpy.loadtxt on those files of the family `read` that hold nothing but numbers."""

import numpy
import read_cases
import server


def reader(file, separator, header, columns, last):
    path = read_cases.path_of(file)
    quote = '"' if file == "quoted.csv" else None
    return lambda: numpy.loadtxt(path, dtype=numpy.float32, delimiter=separator, skiprows=header, usecols=columns,
                                 quotechar=quote)


def numbers_only(case):
    file, *_, last = read_cases.CASES[case]
    return last == "number" and file != "gaps.csv"


if __name__ == "__main__":
    server.serve("NumPy", numpy.__version__, {case: {"loadtxt": lambda case=case: reader(*read_cases.CASES[case])}
                                              for case in read_cases.CASES if numbers_only(case)})
