#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the reference of all names with Doxygen and refuses what is wrong with it.

    reference.py SOURCE OUTPUT

Every warning of Doxygen counts but those about members: what the members of a policy mean is said once, in the tables of
docs/ and in the concept of its seam. A name in a namespace, and a namespace itself, says what it is.
"""
import pathlib
import re
import shutil
import subprocess
import sys

MEMBER = re.compile(r"warning: Member .* of (struct|class|union) .* is not documented")


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    source, output = arguments
    doxygen = shutil.which("doxygen")
    if doxygen is None:
        print("espalier: skipped: doxygen is not installed")
        return 0
    shutil.rmtree(output, ignore_errors=True)
    pathlib.Path(output).mkdir(parents=True)
    settings = (pathlib.Path(source) / "docs" / "Doxyfile").read_text(encoding="utf-8")
    done = subprocess.run([doxygen, "-"], input=f"{settings}\nOUTPUT_DIRECTORY = \"{output}\"\n", cwd=source, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    wrong = sorted({line for line in done.stdout.splitlines() if line.strip() and not MEMBER.search(line)})
    pages = len(list((pathlib.Path(output) / "html").glob("*.html")))
    if done.returncode != 0 or wrong or pages < 100:
        print("\n".join(wrong) or f"doxygen made {pages} pages, status {done.returncode}", file=sys.stderr)
        return 1
    print(f"{pages} pages in {output}/html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
