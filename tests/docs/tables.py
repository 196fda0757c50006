#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of pages against the headers.

    tables.py INCLUDE PAGE.md...       INCLUDE is the folder include/espalier
    tables.py --self-test INCLUDE

Fields with defaults. A table whose first column is headed "field of `NAME`" and the second "default" has exactly the
fields of struct NAME, and each has the default that the header gives it: a value, or "none" for an empty one. Words
behind a colon ("0: never") are for people. With another second column it has some of the fields, and says what they are.

Members of policies. A page with a column "required" says which headers look at such members:

    <!-- members: dropout/concept.hpp core/policy.hpp -->

Every member in the page's tables ("| `scope`, `at(clock)` | ...", "| op: `factor(bits)` | ...") is a name in one of these
headers; every member that the first of them asks for, in a requires-expression or through core/about.hpp, stands in a table; and
for one that is "yes", required, a concept asks, or it is used and no header asks whether it is there.

Verbs of devices. The tables whose first column is headed "verb" have exactly the verbs of device/verbs.inc, and in the
column headed "needed" what that says.

Defaults of seams. A name in backticks that is marked "(default)", or stands in a column headed "default" of a table of
seams, is what a list of policies or a template falls back to somewhere in the headers.

Tests. Every cell of a last column headed "held by" names what holds its row: a link to a file of tests/unit and, in double
quotes, a test in it, or a link to a file of tests/compile_fail; and nothing else.
"""
import pathlib
import re
import sys


class Mistake(Exception):
    """What a page says and a header does not, or the other way round."""


def code_of(path):
    """A header without its comments."""
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def block_at(text, opening):
    """What stands between the brace at `opening` and its partner."""
    depth, at = 1, opening + 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return text[opening + 1:at - 1]


def asked_for(text):
    """Members that requires-expressions look at: the x of `P::x`, `p.x` and `p.template x<T>`."""
    names = set(re.findall(r"^ESPALIER_(?:ABOUT_FORMS\(|MEMBER_OR\(\w+, )(\w+)", text, flags=re.M))
    for found in re.finditer(r"\brequires\b\s*(\([^{};]*\))?\s*\{", text):
        for left, name in re.findall(r"\b(\w+)(?:::|\.)(?:template\s+)?(\w+)\b(?!::)", block_at(text, found.end() - 1)):
            if left not in ("std", "espalier", "detail", "axis", "diagnostic", "schedule", "device"):
                names.add(name)
    return names


def concepts_of(text):
    """The definitions of all concepts, each up to the semicolon that ends it."""
    whole = ""
    for found in re.finditer(r"^concept \w+ =", text, flags=re.M):
        depth, at = 0, found.end()
        while depth or text[at] != ";":
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        whole += text[found.end():at] + " "
    return whole


def tables_of(text):
    """(headings, rows) of every table of a page; a row is a list of cells."""
    found, table = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif table:
            found.append((table[0], table[2:]))
            table = []
    return found


def names_in(cell):
    """`using axis = ...`, `forward(x)` and `a`, `b` name axis, forward, a and b."""
    return re.findall(r"`(?:using |template |const )?(\w+)", cell)


def fields_of(include, struct):
    """{field: default} of a struct of plain fields, in the one header that defines it."""
    for path in sorted(include.rglob("*.hpp")):
        text = code_of(path)
        start = re.search(rf"^(?:template <[^>]*> )?struct {struct} {{", text, flags=re.M)
        if start:
            body = block_at(text, start.end() - 1)
            return {name: (braces or value or "").strip() for name, braces, value in
                    re.findall(r"^ {4}(?:[\w:]+(?:<.*>)?)(?: const)?\*? (\w+)(?:\[\w+\])?(?:(\{[^;]*\})| = ([^;]*))?;", body, flags=re.M)}
    raise Mistake(f"no header defines struct {struct}")


def check_fields(include, struct, rows):
    fields, wrong = fields_of(include, struct), []
    said = {}
    for row in rows:
        names = names_in(row[0])
        values = row[1].split(", ") if len(names) > 1 else [row[1]]
        if len(names) != len(values):
            raise Mistake(f"{struct}: '{row[0]}' names {len(names)} fields and '{row[1]}' gives {len(values)} defaults")
        for name, value in zip(names, values):
            quoted = re.match(r"`(.*)`", value)
            said[name] = quoted[1] if quoted else value.split(":")[0].strip()
    wrong += [f"{struct}: the page leaves out `{name}`" for name in fields if name not in said]
    for name, value in said.items():
        if name not in fields:
            wrong.append(f"{struct}: there is no field `{name}`")
        elif value != ("none" if fields[name] in ("", "{}", "nullptr", "std::nullopt") else fields[name]):
            wrong.append(f"{struct}: the page says '{value}' of `{name}`, the header '{fields[name]}'")
    return wrong


def check_members(include, headers, rows):
    texts = [code_of(include / header) for header in headers]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    concepts = set(re.findall(r"\w+", " ".join(map(concepts_of, texts))))
    optional = set().union(*map(asked_for, texts)) - concepts
    said, wrong = set(), []
    for cells, has_required in rows:
        for name in names_in(cells[0]):
            said.add(name)
            if name not in words:
                wrong.append(f"`{name}` is in none of {', '.join(headers)}")
            elif has_required and cells[1].startswith("yes") and name in optional:
                wrong.append(f"`{name}` is required, the page says, and {', '.join(headers)} do without it")
    wrong += [f"{headers[0]} asks for `{name}`, which no table names" for name in sorted(asked_for(texts[0]) - said)]
    return wrong


def check_verbs(include, rows):
    listed = dict(re.findall(r"^VERB\((\w+), (\w+)", (include / "device/verbs.inc").read_text(encoding="utf-8"), flags=re.M))
    said, wrong = {}, []
    for row in rows:
        said.update((name, row[1]) for name in names_in(row[0]))
    wrong += [f"the verb `{name}` is in no table" for name in listed if name not in said]
    for name, needed in said.items():
        if name not in listed:
            wrong.append(f"`{name}` is no verb of device/verbs.inc")
        elif needed != listed[name]:
            wrong.append(f"the page says '{needed}' of the verb `{name}`, device/verbs.inc '{listed[name]}'")
    return wrong


def check_default(include, name):
    for path in include.rglob("*.hpp"):
        if re.search(rf"pick(_for)?<axis::\w+, ([\w:]+, )?{name}\b|= {name}[>,]", code_of(path)):
            return []
    return [f"nothing falls back to `{name}`, which the page calls a default"]


def check_tests(include, cell):
    """Whether a cell "held by" names tests that exist. Links are relative to docs/."""
    entry = r'\[[^\]]*\]\(\.\./(tests/(?:unit|compile_fail)/[\w./]+)\)(?: "([^"]+)")?'
    if not re.fullmatch(f"{entry}(?:, {entry})*", cell):
        return [f"'{cell}' names no test: a link to its file in tests/, then its name in quotes"]
    wrong = []
    for path, name in re.findall(entry, cell):
        file = include.parents[1] / path
        if not file.is_file():
            wrong.append(f"there is no {path}, which should hold a row")
        elif path.startswith("tests/unit/") != bool(name):
            wrong.append(f"{path}: tests of tests/unit have names, others are files")
        elif name and not re.search(rf'^(?:TEMPLATE_)?TEST_CASE(?:_SIG)?\("{re.escape(name)}"', file.read_text(encoding="utf-8"),
                                    flags=re.M):
            wrong.append(f'{path} has no test "{name}"')
    return wrong


def check_page(include, text):
    """What is wrong with a page, a sentence each; and how many tables were read."""
    wrong, rows, verbs, read = [], [], [], 0
    for headings, body in tables_of(text):
        struct = re.fullmatch(r"field of `(\w+)`", headings[0])
        if struct and headings[1] == "default":
            wrong += check_fields(include, struct[1], body)
        elif struct:
            fields = fields_of(include, struct[1])
            wrong += [f"{struct[1]}: there is no field `{name}`"
                      for row in body for name in names_in(row[0]) if name not in fields]
        elif headings[0].startswith("member"):
            rows += [(row, headings[1] == "required") for row in body]
        elif headings[:2] == ["verb", "needed"]:
            verbs += body
        elif headings[0] == "seam" and headings[-1] == "default":
            for name in [n for row in body for n in re.findall(r"`([\w:]+)`", row[-1])]:
                wrong += check_default(include, name)
        elif headings[-1] == "held by":
            for row in body:
                wrong += check_tests(include, row[-1])
                if len(row) != len(headings):
                    wrong.append(f"the row '{row[0]}' has {len(row)} cells, its table {len(headings)} columns")
        else:
            continue
        read += 1
    for name in re.findall(r"^\| `([\w:]+)[^`]*` \(default\)", text, flags=re.M):
        wrong += check_default(include, name)
    if verbs:
        wrong += check_verbs(include, verbs)
    headers = re.search(r"^<!-- members: (.*) -->$", text, flags=re.M)
    if rows and not headers:
        wrong.append("a table of members, and no comment says which headers look at them")
    elif rows:
        wrong += check_members(include, headers[1].split(), rows)
    return wrong, read


def self_test(include):
    """Right tables pass; a wrong one of every kind does not."""
    fields = ("| field of `gradient_check_options` | default |\n|---|---|\n| `step` | `1e-5` |\n| `elements` | 40 |\n"
              "| `inputs` | true |\n")
    members = ("<!-- members: dropout/concept.hpp core/policy.hpp -->\n\n| member | required |\n|---|---|\n"
               "| op: `scope` | yes |\n| op: `factor<T>(bits)` | yes |\n| `at(clock)` | no |\n"
               "| op: `segment`, `segment_columns`, `keeps_mean`, `shift` | no |\n")
    seams = "| seam | default |\n|---|---|\n| product | `product::direct` |\n"
    some = "| field of `gradient_check_options` | in words |\n|---|---|\n| `step` | how far |\n"
    listed = re.findall(r"^VERB\((\w+), (\w+)", (include / "device/verbs.inc").read_text(encoding="utf-8"), flags=re.M)
    verbs = "| verb | needed |\n|---|---|\n" + "".join(f"| `{name}(x)` | {needed} |\n" for name, needed in listed)
    held = ("| question | held by |\n|---|---|\n| a | [numbers.cpp](../tests/unit/layer/numbers.cpp) \"describe names the "
            "numbers of policies\", [a rate](../tests/compile_fail/dropout_rate.cpp) |\n")
    for right in (fields, members, seams, some, held):
        wrong, read = check_page(include, right)
        assert read == 1 and not wrong, wrong
    assert check_page(include, verbs) == ([], 1)
    for what, page in {
            "default": fields.replace("40", "41"),
            "field": fields + "| `more` | 1 |\n",
            "field in words": some + "| `more` | what? |\n",
            "table without a field": fields.replace("| `inputs` | true |\n", ""),
            "member": members + "| `draws` | yes |\n",
            "table without a member": members.replace("| op: `factor<T>(bits)` | yes |\n", ""),
            "requirement": members.replace("| `at(clock)` | no |", "| `at(clock)`, `stage` | yes |"),
            "default of a seam": seams.replace("direct", "eigen"),
            "verb": verbs + "| `dance()` | always |\n",
            "table without a verb": verbs.replace("| `zero(x)` | always |\n", ""),
            "need of a verb": verbs.replace("| `zero(x)` | always |", "| `zero(x)` | host |"),
            "row without a test": held + "| b | |\n",
            "name of a test": held.replace("of policies", "of police"),
            "file of a test": held.replace("numbers.cpp)", "number.cpp)"),
            "row with a cell too many": held.replace("| a |", "| a | b |"),
            "test without a name": held.replace(' "describe names the numbers of policies"', ""),
            "mark": "| `product::eigen` (default) | | |\n",
            "page without a comment": members.split("\n\n")[1],
    }.items():
        if not check_page(include, page)[0]:
            raise Mistake(f"a wrong {what} was accepted")


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if arguments[0] == "--self-test":
        self_test(pathlib.Path(arguments[1]))
        return 0
    include, total, wrong = pathlib.Path(arguments[0]), 0, []
    for page in arguments[1:]:
        found, read = check_page(include, pathlib.Path(page).read_text(encoding="utf-8"))
        total += read
        wrong += [f"{page}: {sentence}" for sentence in found]
    if wrong:
        raise Mistake("\n".join(wrong))
    print(f"{total} tables agree with the headers")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Mistake, OSError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
