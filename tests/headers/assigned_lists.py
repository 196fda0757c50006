#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No header and no .cu file has `= {.member = value}`: assigned in a template, nvcc drops the names (docs/compilers.md).

    assigned_lists.py FOLDER...
"""

import re
import sys
from pathlib import Path

COMMENT = re.compile(r"//[^\n]*")
LIST = re.compile(r"[\w)\]]\s*=\s*\{\s*\.\w")


def main():
    files = [path for folder in sys.argv[1:] for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    files = [path for path in files if path.suffix in {".hpp", ".cuh", ".cu"}]
    found = 0
    for path in files:
        text = COMMENT.sub(lambda comment: " " * len(comment[0]), path.read_text())
        for match in LIST.finditer(text):
            found += 1
            print(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: write the type in front of the list")
    print(f"{len(files)} files, {found} such lists")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
