#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pandas.read_csv on the files of the family `read`: numbers as it chooses (double) and as float, texts numbered as
categories, gaps filled with 0."""

import numpy
import pandas
import read_cases
import server


def reader(file, separator, header, columns, last, number):
    path = read_cases.path_of(file)
    types = {c: number for c in range(read_cases.COLUMNS)} if number else {}
    if last == "text":
        types[read_cases.COLUMNS - 1] = "category"

    def call():
        table = pandas.read_csv(path, sep=separator, header=None, skiprows=header, usecols=columns, dtype=types)
        return table.fillna(0.0) if file == "gaps.csv" else table

    return call


def variants(case):
    return {"double": lambda: reader(*read_cases.CASES[case], None),
            "float": lambda: reader(*read_cases.CASES[case], numpy.float32)}


if __name__ == "__main__":
    server.serve("pandas", pandas.__version__, {case: variants(case) for case in read_cases.CASES})
