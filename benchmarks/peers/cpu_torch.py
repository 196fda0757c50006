# SPDX-License-Identifier: Apache-2.0
"""Installs PyTorch from PyPI into the environment whose Python runs this, for CPU use only.

PyPI's package for Linux is linked against CUDA's libraries, several GB that a CPU never calls. This takes the package
without them, the CUDA runtime (small, needed to start), and an empty library for each of the others: every function of
those stops the program. Needs g++ and binutils, which the benchmarks need too.
"""

import collections
import importlib.metadata
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile


def pip(*arguments):
    # pip's complaint about what is left out on purpose is shown only when it fails.
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"cpu_torch.py: pip could not install {' '.join(arguments)}:\n{done.stderr}")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def requirements():
    """What PyTorch itself needs, without CUDA's libraries."""
    for text in importlib.metadata.requires("torch"):
        name = re.match(r"[A-Za-z0-9_.-]+", text)[0]
        if "extra ==" not in text and not re.match(r"(nvidia|cuda|triton)", name):
            yield text


def empty_libraries(libs):
    """Libraries in the folder `libs` with everything that PyTorch's own need and no file there or in nvidia/ has."""
    ours = sorted(libs.glob("lib*.so*"))
    present = {path.name for path in ours} | {p.name for p in (libs.parent.parent / "nvidia").glob("**/lib*.so*")}
    needed, symbols, loose = set(), collections.defaultdict(set), set()
    for path in ours:
        needed |= set(re.findall(r"NEEDED\).*\[(lib[^]]+)\]", output("readelf", "-dW", path)))
        for line in output("nm", "-D", "--undefined-only", path).splitlines():
            symbol = re.search(r" [Uw] (\w+)(?:@+(\S+))?$", line)
            if symbol and symbol[2]:
                symbols[symbol[2]].add(symbol[1])
            elif symbol:
                loose.add(symbol[1])
    absent = sorted(n for n in needed - present if re.match(r"lib(cu|nv|nccl)", n) and n != "libcuda.so.1")
    for library in absent:
        stem = re.match(r"lib([a-zA-Z]+)", library)[1]
        versions = {v: names for v, names in symbols.items() if v == library or stem.lower().startswith(v.lower())}
        names = {n for n in loose if re.match(stem.split("_")[0], n, re.IGNORECASE)} if not versions else set()
        with tempfile.TemporaryDirectory() as folder:
            source, script = pathlib.Path(folder, "empty.c"), pathlib.Path(folder, "versions")
            every = set.union(names, *versions.values())
            source.write_text("".join(f"void {n}(void) {{ __builtin_trap(); }}\n" for n in sorted(every)))
            script.write_text("".join(f"{v} {{ global: {' '.join(n + ';' for n in sorted(names))} }};\n"
                                      for v, names in versions.items()))
            subprocess.run(["g++", "-x", "c", "-w", "-fno-builtin", "-shared", "-fPIC", source, "-o", libs / library,
                            f"-Wl,-soname,{library}", *([f"-Wl,--version-script={script}"] if versions else [])], check=True)
    return absent


def main():
    pip("--no-deps", "torch")
    pip(*requirements())
    libs = pathlib.Path(importlib.util.find_spec("torch").submodule_search_locations[0], "lib")
    runtime = re.search(r"libcudart\.so\.(\d+)", output("readelf", "-dW", libs / "libtorch_global_deps.so"))
    if runtime:  # a package without CUDA needs nothing more
        major = int(runtime[1])
        suffix = f"-cu{major}" if major < 13 else f"~={major}.0"
        pip("--no-deps", f"nvidia-cuda-runtime{suffix}", f"nvidia-cuda-cupti{suffix}")
        print("empty instead of CUDA's:", ", ".join(empty_libraries(libs)))
    subprocess.run([sys.executable, "-c", "import torch; assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8"],
                   check=True)


if __name__ == "__main__":
    main()
