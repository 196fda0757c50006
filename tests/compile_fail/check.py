#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that a source file is refused by the compiler, with the sentence it promises.

    check.py FILE.cpp -- COMPILER ARGUMENTS...
    check.py --self-test -- COMPILER ARGUMENTS...

FILE holds one or more lines `// expect: REGEX` (Python regular expressions, matched anywhere in the compiler's output;
`// expect c++: REGEX` and `// expect nvcc: REGEX` are for one compiler, since nvcc names an assertion's arguments as
`Axis=espalier::axis::dropout` where g++ prints the condition with its arguments filled in)
and the same program without its mistake under `#ifdef ESPALIER_POSITIVE_TWIN`. It passes when
  - with -DESPALIER_POSITIVE_TWIN the compiler accepts it, without a warning;
  - without it the compiler refuses it, the first error line contains "espalier: " (a sentence, no namespace), and every REGEX matches.
A line `// nvcc: skip REASON` leaves the file out under nvcc (status 77).
"""

import os
import re
import subprocess
import sys
import tempfile

# "file:3:5: error: ...", "file(3): error: ...", "error #20-D: ...", but not a path that contains the word.
ERROR_LINE = re.compile(r"(?:^|[\s:])error(?: #[\w-]+)?: ")


def is_nvcc(command):
    return os.path.basename(command[0]).startswith("nvcc")


def compile_file(command, source, twin):
    define = ["-DESPALIER_POSITIVE_TWIN"] if twin else []
    result = subprocess.run(command + define + [source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, errors="replace", env={**os.environ, "LC_ALL": "C"})
    return result.returncode, result.stdout


def shown(output, lines=40):
    listed = output.splitlines()
    more = [f"... {len(listed) - lines} more lines"] if len(listed) > lines else []
    return "\n".join("    | " + line for line in listed[:lines] + more)


def check(source, command):
    """Returns None when the file behaves as promised, otherwise (short reason, details)."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    compiler = "nvcc" if is_nvcc(command) else "c++"
    lines = re.findall(r"^// expect(?: (c\+\+|nvcc))?: (.+?)\s*$", text, re.MULTILINE)
    expected = [regex for only, regex in lines if only in ("", compiler)]
    if not expected:
        return "no expectation", f"the file has no line `// expect: REGEX` that counts for {compiler}"
    if "ESPALIER_POSITIVE_TWIN" not in text:
        return "no twin", "the file does not mention ESPALIER_POSITIVE_TWIN, so it has no positive twin"

    status, output = compile_file(command, source, twin=True)
    if status != 0:
        return "twin refused", "the positive twin does not compile:\n" + shown(output)
    if re.search(r"\bwarning\b.*:", output):
        return "twin warned", "the positive twin compiles with warnings:\n" + shown(output)

    status, output = compile_file(command, source, twin=False)
    if status == 0:
        return "accepted", "the file compiles, although it must be refused"
    first = next((line for line in output.splitlines() if ERROR_LINE.search(line)), None)
    if first is None:
        return "no error line", f"status {status}, but no error line was found:\n" + shown(output)
    if "espalier: " not in first:
        return "first error not ours", "the first error is not a sentence of espalier:\n    " + first + "\n" + shown(output)
    missing = [regex for regex in expected if not re.search(regex, output)]
    if missing:
        return "sentence missing", "".join(f"no match for: {regex}\n" for regex in missing) + shown(output)
    print("refused as promised:\n    " + first)
    return None


# One file for every way to fail, and one that passes: (expected short reason, text).
SELF_TESTS = [
    (None, """// expect: rate 2 is not below 1
#ifdef ESPALIER_POSITIVE_TWIN
constexpr int rate = 0;
#else
constexpr int rate = 2;
#endif
static_assert(rate < 1, "espalier: rate 2 is not below 1");
"""),
    ("accepted", """// expect: never printed
#ifdef ESPALIER_POSITIVE_TWIN
#endif
int compiles_although_it_should_fail();
"""),
    ("sentence missing", """// expect: rate 3 is not below 1
#ifndef ESPALIER_POSITIVE_TWIN
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    ("first error not ours", """// expect: rate 2 is not below 1
#ifndef ESPALIER_POSITIVE_TWIN
int x = undeclared;
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    ("twin refused", """// expect: rate 2 is not below 1
// The sentence is printed with and without ESPALIER_POSITIVE_TWIN.
static_assert(false, "espalier: rate 2 is not below 1");
"""),
    ("twin warned", """// expect: rate 2 is not below 1
#ifdef ESPALIER_POSITIVE_TWIN
#warning something
#else
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    ("no expectation", """#ifndef ESPALIER_POSITIVE_TWIN
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    (None, """// expect: rate 2 is not below 1
// expect nvcc: never printed by another compiler
#ifndef ESPALIER_POSITIVE_TWIN
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    ("sentence missing", """// expect: rate 2 is not below 1
// expect c++: rate 3 is not below 1
#ifndef ESPALIER_POSITIVE_TWIN
static_assert(false, "espalier: rate 2 is not below 1");
#endif
"""),
    ("no twin", """// expect: rate 2 is not below 1
static_assert(false, "espalier: rate 2 is not below 1");
"""),
]


def self_test(command):
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (expected, text) in enumerate(SELF_TESTS):
            source = os.path.join(folder, f"error_{number}.cpp")
            with open(source, "w", encoding="utf-8") as file:
                file.write(text)
            outcome = check(source, command)
            reason = outcome[0] if outcome else None
            print(f"self-test {number}: expected {expected or 'passes'}, got {reason or 'passes'}")
            if reason != expected:
                wrong += 1
                print(outcome[1] if outcome else "")
    return 1 if wrong else 0


def main():
    arguments = sys.argv[1:]
    if "--" not in arguments or arguments.index("--") != 1 or len(arguments) < 3:
        sys.exit(__doc__)
    source, command = arguments[0], arguments[2:]
    if source == "--self-test":
        return self_test(command)
    if is_nvcc(command):
        with open(source, encoding="utf-8") as file:
            skip = re.search(r"^// nvcc: skip (.+)$", file.read(), re.MULTILINE)
        if skip:
            print("skipped under nvcc: " + skip.group(1))
            return 77
    outcome = check(source, command)
    if outcome:
        print(f"{os.path.basename(source)}: {outcome[0]}: {outcome[1]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
