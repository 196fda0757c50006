# SPDX-License-Identifier: Apache-2.0
"""What the peers of the family `read` read: the files that bench_read has written to the folder ESPALIER_BENCH_FILES."""

import os

COLUMNS = 15
# case: (file, separator, rows before the data, columns to read, what stands in the last column)
CASES = {
    "read/numbers": ("numbers.csv", ",", 0, None, "number"),
    "read/some": ("numbers.csv", ",", 0, [0, 5, 9, 14], "number"),
    "read/named": ("named.tsv", "\t", 1, None, "number"),
    "read/quoted": ("quoted.csv", ",", 0, None, "number"),
    "read/long": ("long.csv", ",", 0, None, "number"),
    "read/gaps": ("gaps.csv", ",", 0, None, "number"),
    "read/gzip": ("numbers.csv.gz", ",", 0, None, "number"),
    "read/letters": ("letters.csv", ",", 0, None, "text"),
    "read/distinct": ("distinct.csv", ",", 0, None, "text"),
    "read/fractions": ("fractions.csv", ",", 0, None, "number"),
}


def path_of(file):
    path = os.path.join(os.environ["ESPALIER_BENCH_FILES"], file)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: bench_read writes it")
    return path
