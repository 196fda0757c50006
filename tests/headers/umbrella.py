#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public header for the CPU is reached from espalier/espalier.hpp: a new policy that is not named there is told.

    umbrella.py INCLUDE_FOLDER
"""

import re
import sys
from pathlib import Path

# What brings a library of its own, another device, or only definitions of what other headers declare.
APART = re.compile(
    r"espalier/(product/(eigen|onednn|cublaslt|tiles)|data/eigen_view|(space|thrust)/.*|device/(cuda|emulated)/.*|.*/detail/.*|[a-z_]+/all)\.hpp"
)


def main():
    folder = Path(sys.argv[1])
    headers = {str(path.relative_to(folder)) for path in folder.glob("espalier/**/*.hpp")}
    reached, open_ones = set(), ["espalier/espalier.hpp"]
    while open_ones:
        header = open_ones.pop()
        if header in reached:
            continue
        reached.add(header)
        text = (folder / header).read_text()
        open_ones += [name for name in re.findall(r"#include <(espalier/[^>]+)>", text) if name in headers]
    missing = sorted(h for h in headers - reached if not APART.fullmatch(h))
    for header in missing:
        print(f"{header} is not reached from espalier/espalier.hpp")
    print(f"{len(headers)} headers, {len(reached)} reached, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
