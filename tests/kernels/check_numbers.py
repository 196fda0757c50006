#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No number stands in the type of a kernel: what nvcc makes of numbers.cu, without a GPU.

nvcc hands its host compiler the floating-point numbers of a kernel's template arguments with 15 digits (float: 6). A
number that needs more names another kernel there: the launch goes to a wrapper that launches nothing, and numbers that
print alike share one kernel. numbers.cu uses every policy that takes a number with numbers such as 1 / 3. Looked for are

  - wrappers of kernels that do not reach a kernel, in the host code;
  - kernels with a floating-point number anywhere among their template arguments, whether or not 15 digits hold it;
  - headers whose templates take numbers and that numbers.cu does not include.

A small program with such kernels comes first, so that an nvcc whose objects look otherwise is noticed. Needs nvcc, its host
compiler, nm, objdump and c++filt. Exit status 0: all hold.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

WRAPPER = "__wrapper__device_stub_"
LITERAL = re.compile(r"L[dfe][0-9a-f]{8,32}E")  # a floating-point template argument, mangled
READABLE = re.compile(r"\((?:long double|double|float)\)\[[0-9a-f]+\]")
FOLDERS = ("activation", "activation_penalty", "dropout", "gate", "initial", "layer", "loss", "optimizer", "penalty",
           "projection", "prune", "transform", "weight")
CONTROL = """
struct pair { double first, second; };
template <double X> struct of_number {};
template <auto X> struct of_pair {};
template <class Op> __global__ void control_kernel(Op) {}
template <class Op> void launch() { control_kernel<<<1, 1>>>(Op{}); }
void control() {
    launch<of_number<0.25>>();
    launch<of_number<1.0 / 3.0>>();
    launch<of_pair<pair{1.0 / 3.0, 1.0}>>();
}
"""


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def compile_to(arguments, source, target):
    # Types only: no optimisation on either side, no machine code. At -O0 every wrapper stays a function of its own.
    command = [arguments.nvcc, "-std=c++20", "-gencode", f"arch={arguments.arch},code={arguments.arch}", "-Xcicc", "-O0",
               "-Xcompiler", "-O0", *("-I" + folder for folder in arguments.include), "-c", source, "-o", target]
    result = run(*command)
    if result.returncode != 0:
        sys.exit(f"{source} does not compile:\n{result.stdout}{result.stderr}")


def wrappers(program):
    """Mangled name of every wrapper, and whether it reaches a kernel."""
    listing = run("objdump", "-dr", "--no-show-raw-insn", program)
    if listing.returncode != 0:
        sys.exit(f"objdump cannot read {program}: {listing.stderr}")
    found, name = {}, ""
    for line in listing.stdout.splitlines():
        head = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if head:
            name = head[1] if WRAPPER in head[1] else ""
            if name:
                found[name] = False
        elif name and "__device_stub__" in line:
            found[name] = True
    return found


def demangle(name):
    return run("c++filt", name).stdout.strip() or name


def enclosing(text, at):
    """The templates that position `at` stands in, from the outside inwards."""
    names, depth = [], 0
    for i in range(at - 1, -1, -1):
        if text[i] in ">)":
            depth += 1
        elif text[i] in "<(":
            if depth > 0:
                depth -= 1
            elif text[i] == "<":
                name = re.search(r"[\w:]+$", text[:i])
                names.append(name[0] if name else "?")
    return names[::-1]


def describe(name):
    text = demangle(name)
    kernel = re.search(WRAPPER + r"(\w+)", text)
    kernel = kernel[1] if kernel else text
    number = READABLE.search(text)
    chain = [part.replace("espalier::", "") for part in enclosing(text, number.start())] if number else []
    return f"{' > '.join(c for c in chain if WRAPPER not in c) or text} in {kernel}"


def faults(found):
    for name, reaches in sorted(found.items()):
        number = LITERAL.search(name) is not None
        if not reaches:
            yield f"launches nothing: {describe(name)}"
        if number:
            yield f"a number in the type of a kernel: {describe(name)}"


def takes_numbers(header):
    """Whether a template of the header has a parameter that may hold a floating-point number: a number, anything, or a
    structure of the header with a number in it."""
    text = re.sub(r"//[^\n]*", "", header.read_text())
    kinds = {"auto", "double", "float"}
    structure = r"^struct (\w+) \{\n(?:    [^\n]*\n|\n)*?    (?:double|float) \w+ = "
    kinds |= {match[1] for match in re.finditer(structure, text, re.M)}
    for match in re.finditer(r"\btemplate\s*<([^<>]*)>", text):
        for parameter in match[1].split(","):
            if kinds & set(re.findall(r"\w+", parameter.split("=")[0])[:-1]):
                return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--arch", default="compute_90")
    parser.add_argument("--include", action="append", default=[], help="include folder; may be given several times")
    parser.add_argument("source", type=pathlib.Path, help="numbers.cu")
    arguments = parser.parse_args()
    wrong = []

    with tempfile.TemporaryDirectory() as folder:
        control = pathlib.Path(folder) / "control.cu"
        control.write_text(CONTROL)
        compile_to(arguments, control, control.with_suffix(".o"))
        seen = list(faults(wrappers(control.with_suffix(".o"))))
        # A repaired nvcc would launch all three: then the names alone tell.
        for policy in ("of_number", "of_pair"):
            if not any(line.startswith("a number") and policy in line for line in seen):
                wrong.append(f"the kernel with a number in {policy} was not found: this nvcc's objects look otherwise")
        target = pathlib.Path(folder) / "numbers.o"
        compile_to(arguments, arguments.source, target)
        found = wrappers(target)

    print(f"{len(found)} kernels")
    if len(found) < 60:
        wrong.append(f"{arguments.source.name} has {len(found)} kernels, and had 84 once: what does it still use?")
    wrong += dict.fromkeys(faults(found))  # one line a policy and kernel
    included = set(re.findall(r"#include <(espalier/[^>]+)>", arguments.source.read_text()))
    for folder in arguments.include:
        for part in FOLDERS:
            for header in sorted((pathlib.Path(folder) / "espalier" / part).glob("*.hpp")):
                name = f"espalier/{part}/{header.name}"
                if name not in included and takes_numbers(header):
                    wrong.append(f"{name} takes numbers, and {arguments.source.name} does not use it")
    for line in wrong:
        print("WRONG:", line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
