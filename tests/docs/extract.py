#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the C++ code of Markdown pages, so that no page shows code that does not compile.

Every fenced block that begins with ```cpp says what it is:

    ```cpp program        a complete source file
    ```cpp declarations   goes to namespace scope; later blocks of the page see it
    ```cpp statements     goes into a function; sees the declarations before it

Blocks of the second and third kind have the includes of prelude.hpp, those of their own that they show, and `namespace
esp = espalier;`. Errors name the page and its line.

    extract.py PAGE.md -- g++ -std=c++20 -fsyntax-only -I include     compile the blocks of a page
    extract.py --print PAGE.md                                        show what would be compiled
    extract.py --links PAGE.md...                                     check that relative links lead somewhere
    extract.py --self-test -- g++ ...                                 check that this script finds mistakes
"""
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ("program", "declarations", "statements")


class Mistake(Exception):
    """Something wrong with a page."""


def blocks_of(text, name):
    """(kind, first line, code) of every C++ block."""
    found = []
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        opening = re.match(r"^( *)(`{3,}|~{3,})(.*)$", line)
        if fence is None and opening:
            words = opening.group(3).split()
            language = words[0].lower() if words else ""
            fence = (opening.group(2), number, len(opening.group(1)))
            code = None
            if language in ("cpp", "c++", "cuda", "cxx"):
                if len(words) != 2 or words[1] not in KINDS or language != "cpp":
                    raise Mistake(f"{name}:{number}: a C++ block begins with ```cpp and one of {', '.join(KINDS)}")
                code = (words[1], number + 1, [])
        elif fence is not None and line.strip().startswith(fence[0]) and not line.strip().strip(fence[0][0]):
            if code:
                found.append((code[0], code[1], "\n".join(code[2]) + "\n"))
            fence = None
        elif fence is not None and code:
            code[2].append(line[fence[2]:])
    if fence is not None:
        raise Mistake(f"{name}:{fence[1]}: the block is not closed")
    return found


def units_of(blocks, name):
    """The source files to compile: every program, and one file with all other blocks of the page."""
    shown = name.replace("\\", "/").replace('"', "")
    programs = [f'#line {line} "{shown}"\n{code}' for kind, line, code in blocks if kind == "program"]
    rest, included = [], []
    for kind, line, code in blocks:
        if kind != "program":
            included += re.findall(r"^#include .*$", code, re.MULTILINE)
            code = re.sub(r"^#include .*$", "", code, flags=re.MULTILINE)
        place = f'#line {line} "{shown}"\n{code}'
        if kind == "declarations":
            rest.append(place)
        elif kind == "statements":
            rest.append(f"[[maybe_unused]] static void block_at_line_{line}() {{\n{place}}}\n")
    if rest:
        programs.append("\n".join(['#include "prelude.hpp"', *included, "namespace esp = espalier;", "namespace page {",
                                   *rest, "} // namespace page", ""]))
    return programs


def compile_page(path, command):
    """Compiles the page's blocks; the number of blocks."""
    name = str(path)
    blocks = blocks_of(pathlib.Path(path).read_text(encoding="utf-8"), name)
    with tempfile.TemporaryDirectory() as folder:
        for unit in units_of(blocks, name):
            source = pathlib.Path(folder) / "page.cpp"
            source.write_text(unit, encoding="utf-8")
            done = subprocess.run([*command, "-I", str(HERE), str(source)], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
            if done.returncode != 0:
                raise Mistake(f"{done.stdout}{name}: its code does not compile")
    return len(blocks)


def check_links(path):
    """Every relative link of a page leads to a file."""
    path = pathlib.Path(path)
    text = re.sub(r"^( *)(`{3,}).*?^\1\2 *$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"^[a-z]+:", target) or target.startswith("#"):
            continue
        if not (path.parent / target.split("#")[0]).exists():
            wrong.append(f"{path}: the link {target} leads nowhere")
    if wrong:
        raise Mistake("\n".join(wrong))


def self_test(command):
    """A right page passes, five wrong ones do not."""
    right = ("text\n```cpp declarations\nstruct a { int x; };\n```\n```cpp statements\n#include <vector>\na y{1};\n"
             "std::vector<int> z(1);\nstatic_cast<void>(y.x + z[0]);\n"
             "```\n```sh\nno C++ at all\n```\n```cpp program\nint main() { return 0; }\n```\n")
    wrong = {
        "unknown name": right.replace("a y{1}", "b y{1}"),
        "program": right.replace("return 0", "return nothing"),
        "kind": right.replace("cpp program", "cpp"),
        "open block": right[:-4],
        "order": "```cpp statements\na y{1};\n```\n" + right,
    }
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "page.md"
        page.write_text(right, encoding="utf-8")
        assert compile_page(page, command) == 3
        for what, text in wrong.items():
            page.write_text(text, encoding="utf-8")
            try:
                compile_page(page, command)
            except Mistake as problem:
                assert "page.md" in str(problem), problem
            else:
                raise Mistake(f"a page with a wrong {what} was accepted")
        page.write_text("[a](page.md) [b](https://example.org) `[c](d)`\n", encoding="utf-8")
        check_links(page)
        page.write_text("[a](missing.md)\n", encoding="utf-8")
        try:
            check_links(page)
        except Mistake:
            return
        raise Mistake("a dead link was accepted")


def main(arguments):
    command = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, command = arguments[:split], arguments[split + 1:]
    if arguments and arguments[0] == "--self-test" and command:
        self_test(command)
    elif arguments and arguments[0] == "--links" and len(arguments) > 1:
        for page in arguments[1:]:
            check_links(page)
    elif len(arguments) == 2 and arguments[0] == "--print":
        text = pathlib.Path(arguments[1]).read_text(encoding="utf-8")
        print("\n// ----\n".join(units_of(blocks_of(text, arguments[1]), arguments[1])))
    elif len(arguments) == 1 and command:
        print(f"{arguments[0]}: {compile_page(arguments[0], command)} blocks compile")
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Mistake, OSError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
