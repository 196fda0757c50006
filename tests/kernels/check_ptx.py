#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Properties of the shipped kernels that need no GPU, from what nvcc leaves behind.

For every kernels/*.cu: no stack frame and no spills (ptxas), no local memory, 16-byte global accesses in epilogue,
update, batch normalisation and dispatch, 16-byte loads in products and tensor cores in those of bf16, random-bit code
exactly where an op draws, every line of kernels/instances.inc compiled, and the names that the host half registers equal
to the names of the device half (nvcc can make them differ silently).
Needs nvcc and a host compiler. Exit status 0: all hold.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PHILOX = re.compile(r"-766435501|3528531795|0xD2511F53", re.I)  # its first multiplier, as PTX may spell it
VECTOR = ("epilogue_forward", "epilogue_backward", "update", "moment_partials", "normalise", "normal_sum_partials",
          "normalise_backward", "combine", "expert_gradient", "gather", "scatter_add", "pass_back")
PRODUCTS = ("tile_forward_kernel", "tile_input_gradient_kernel", "tile_weight_gradient_kernel")


def demangle(names):
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if not tool or not names:
        return {name: name for name in names}
    out = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, out.splitlines()))


def short(name):
    """The kernel and its template arguments, without namespaces and parameters."""
    name = re.sub(r"\b(espalier|cuda|kernels|passes|activation|dropout|optimizer|penalty|weight|loss|gate)::", "", name)
    name = re.sub(r"\(\w+\)(?=\d)", "", name)  # (enumeration)0
    return re.sub(r"^void ", "", name).split("(kernels")[0].split("(numbers")[0].split("(")[0]


def compile_one(arguments, source, folder):
    command = [arguments.nvcc, "-std=c++20", "-arch=" + arguments.arch, "-Xptxas", "-v", "--keep", "--keep-dir", folder]
    command += ["-I" + i for i in arguments.include] + ["-c", str(source), "-o", str(pathlib.Path(folder) / "object.o")]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{source} does not compile:\n{run.stdout}{run.stderr}")
    stem = pathlib.Path(folder) / source.stem
    return run.stdout + run.stderr, stem.with_suffix(".ptx").read_text(), \
        pathlib.Path(str(stem) + ".cudafe1.stub.c").read_text()


def ptxas_figures(log):
    figures = {}
    pattern = (r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
               r"(\d+) bytes spill loads.*?Used (\d+) registers")
    for match in re.finditer(pattern, log, re.S):
        figures[match[1]] = tuple(int(match[i]) for i in (2, 3, 4, 5))
    return figures


def entries(ptx):
    parts = re.split(r"\.entry\s+(\w+)", ptx)
    return dict(zip(parts[1::2], parts[2::2]))


def registered(stub):
    """Mangled names in the calls of __cudaRegisterEntry: the last argument but one."""
    return set(re.findall(r",\s*(_Z\w+)\s*,\s*(?:\(-1\)|\d+U?)\s*\)\s*;", stub))


def expected(instances):
    """How many kernels of each kind the list asks for."""
    kinds = {"EPILOGUE": ("epilogue_forward", "epilogue_backward"), "UPDATE": ("update",),
             "SUMS": ("column_partials", "add_partial_rows", "add_sums", "finish_loss", "finish_moments",
                      "finish_normal_sums"),
             "SOFTMAX": ("row_forward", "row_backward"), "COUNT": ("count_rows",), "LOSS": ("row_loss",),
             "GATE": ("row_gate_forward", "row_gate_backward"),
             "EXPERTS": ("combine", "weight_gradients", "expert_gradient", "gather", "scatter_add", "add_pairs",
                         "pass_back"),
             "PAIRS": ("mark_pairs", "share_pairs", "finish_measures"),
             "BATCH_NORM": ("moment_partials", "normalise", "normal_sum_partials", "normalise_backward"),
             "PRODUCTS": PRODUCTS}
    wanted = {}
    for line in instances.splitlines():
        match = re.match(r"([A-Z]+)\(", line)
        if match:
            for kernel in kinds[match[1]]:
                wanted[kernel] = wanted.get(kernel, 0) + 1
    return wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--include", action="append", default=[], help="include folder; may be given several times")
    parser.add_argument("kernels", type=pathlib.Path, help="folder with the .cu files and instances.inc")
    arguments = parser.parse_args()

    sources = sorted(arguments.kernels.glob("*.cu"))
    if not sources:
        sys.exit(f"no .cu in {arguments.kernels}")
    wrong, count, drawing = [], {}, 0
    for source in sources:
        with tempfile.TemporaryDirectory() as folder:
            log, ptx, stub = compile_one(arguments, source, folder)
        figures, device, host = ptxas_figures(log), entries(ptx), registered(stub)
        if set(device) != host:
            for name in sorted(set(device) ^ host):
                where = "registered by the host only" if name in host else "not registered by the host"
                wrong.append(f"{source.name}: {name} is {where}")
        if set(device) != set(figures):
            wrong.append(f"{source.name}: ptxas reports {len(figures)} kernels, the PTX has {len(device)}")
        readable = demangle(sorted(device))
        for name, body in sorted(device.items()):
            kernel = re.search(r"passes::([a-z_]+)", readable[name]) or re.search(r"([a-z_]+_kernel)", readable[name])
            kernel = kernel[1] if kernel else name
            count[kernel] = count.get(kernel, 0) + 1
            what = f"{source.name}: {short(readable[name])}"
            stack, stores, loads, registers = figures.get(name, (0, 0, 0, 0))
            wide_loads = len(re.findall(r"ld\.global(?:\.nc)?(?:\.\w+::\w+)*\.v4", body))
            wide_stores = len(re.findall(r"st\.global\.v4", body))
            print(f"{registers:4d} registers, {stack} stack, {stores + loads} spill, 16-byte loads {wide_loads:2d} "
                  f"stores {wide_stores:2d}  {what}")
            if stack or stores or loads:
                wrong.append(f"{what}: {stack} bytes of stack, {stores + loads} of spills")
            if re.search(r"\.local\b", body):
                wrong.append(f"{what}: uses local memory")
            if kernel in VECTOR and (wide_loads == 0 or wide_stores == 0):
                wrong.append(f"{what}: {wide_loads} loads and {wide_stores} stores of 16 bytes")
            if kernel in PRODUCTS:
                if wide_loads == 0:
                    wrong.append(f"{what}: no loads of 16 bytes")
                if ("mma.sync" in body) != ("bfloat16" in name):
                    wrong.append(f"{what}: {'has' if 'mma.sync' in body else 'no'} tensor-core code")
            if kernel.startswith("epilogue_"):
                draws = "threshold_op" in readable[name] or "threshold_op" in name
                drawing += draws
                if bool(PHILOX.search(body)) != draws:
                    wrong.append(f"{what}: {'no' if draws else 'has'} random-bit code")
    for kernel, wanted in expected((arguments.kernels / "instances.inc").read_text()).items():
        if count.get(kernel, 0) != wanted:
            wrong.append(f"{kernel}: the list has {wanted}, {count.get(kernel, 0)} were compiled")
    if drawing == 0:
        wrong.append("no shipped epilogue draws, so nothing shows that random-bit code would be found")
    print(f"{sum(count.values())} kernels in {len(sources)} files")
    for line in wrong[:20]:
        print("WRONG:", line)
    if len(wrong) > 20:
        print(f"WRONG: and {len(wrong) - 20} more")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
