#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compile time and memory of whole programs and of stacks of growing depth: family `compile`.

The programs (programs/): one that reads a table, describes, fits and saves, one with its own loop, and the training program
in dlib where libdlib-dev is installed. `--against COMMIT` compiles ours with the headers of another commit in turn with
this tree's and prints the ratios.

Every depth is compiled with equal layers and with layers that all differ (in width), at -O0 (a program that trains) and
at -O2, against a program with the same includes and an empty main, and against a stack of nested types that holds the
same layers' kernels. A row's `ns` is the compiler's CPU time; `hand_ns` is that of the nested-type stack; `floor_ns` that of
the empty program. `mb` and `floor_mb` are the compiler's largest resident memory.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
depths = (1, 8, 32, 128, 256)

includes = """#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>
"""
empty = includes + "int main() {}\n"


def widths(depth, different):
    return [16 + (i if different else 0) for i in range(depth)]


def stack(depth, different):
    layers = ", ".join(f"esp::dense<{w}, esp::activation::relu, esp::dropout::bernoulli<0.1>>" for w in widths(depth, different))
    return includes + f"""
namespace esp = espalier;
using stack = esp::sequence<esp::input<16>, {layers}, esp::dense<10>>;
int main() {{
    esp::network<stack, esp::device::cpu, float> net{{esp::seed{{1}}, 32}};
    esp::training train{{net, esp::loss::cross_entropy{{}}, esp::optimizer::adam{{}}}};
    float x[32 * 16] = {{}};
    std::int32_t y[32] = {{}};
    esp::rows tags;
    tags.count = 32;
    tags.label = y;
    return train.step({{esp::contiguous_view<float const>(x, 32, 16), tags, {{}}}}).loss > 1e9;
}}
"""


def nested(depth, different):
    """The usual way: a layer that owns the rest of the network as a member of its type, with the same device calls."""
    text = includes + """
namespace esp = espalier;
using esp::index_t;
using relu_dropout = esp::epilogue_op<esp::activation::relu, esp::dropout::bernoulli_op>;
using rule = esp::tensor_rule<esp::weight::identity, esp::flat_tuple<>, esp::flat_tuple<>>;
struct memory { float* values; float* gradients; float* moments; index_t stride; float* z; esp::scratch_view space; };
struct end {
    static constexpr int depth = 0;
    void forward(memory const&, esp::rows const&, esp::matrix_view<float const>, index_t) {}
    void backward(memory const&, esp::rows const&, esp::matrix_view<float const>, esp::matrix_view<float>, index_t) {}
    template <class O> void update(memory const&, O const&, index_t) {}
};
template <int In, int Out, class Rest> struct layer {
    static constexpr int depth = 1 + Rest::depth;
    relu_dropout op;
    Rest rest;
    void forward(memory const& m, esp::rows const& batch, esp::matrix_view<float const> x, index_t at) {
        esp::matrix_view<float> z{m.z + depth * 4096, x.rows, Out, Out};
        esp::product::direct::forward<float>(x, {m.values + at, In, Out, Out}, m.values + at + In * Out, z, m.space);
        esp::cpu::epilogue_forward<float>(op, z, z, esp::random_site{}, batch, {});
        rest.forward(m, batch, z, at + (In + 1) * Out);
    }
    void backward(memory const& m, esp::rows const& batch, esp::matrix_view<float const> x, esp::matrix_view<float> dx, index_t at) {
        esp::matrix_view<float> z{m.z + depth * 4096, x.rows, Out, Out};
        rest.backward(m, batch, z, z, at + (In + 1) * Out);
        esp::cpu::epilogue_backward<float>(op, z, z, z, m.gradients + at + In * Out, esp::random_site{}, batch, {});
        esp::product::direct::weight_gradient<float>(x, z, {m.gradients + at, In, Out, Out}, m.space);
        esp::product::direct::input_gradient<float>(z, {m.values + at, In, Out, Out}, dx, m.space);
    }
    template <class O> void update(memory const& m, O const& o, index_t at) {
        esp::update_segment<float> s;
        s.rows = In + 1;
        s.columns = Out;
        s.weights = m.values + at;
        s.gradients = m.gradients + at;
        s.moments = m.moments + at;
        s.moment_stride = m.stride;
        esp::cpu::update(o, rule{}, s);
        rest.update(m, o, at + (In + 1) * Out);
    }
};
"""
    w = widths(depth, different)
    pairs = list(zip([16] + w[:-1], w))
    open_part = "".join(f"layer<{a}, {b}, " for a, b in pairs)
    return text + f"""
using stack = {open_part}end{">" * depth};
int main() {{
    static float values[1], z[1];
    memory m{{values, values, values, 0, z, {{}}}};
    esp::rows batch;
    stack s{{}};
    s.forward(m, batch, {{}}, 0);
    s.backward(m, batch, {{}}, {{}}, 0);
    s.update(m, esp::optimizer::adam{{}}.at({{}}, 1), 0);
}}
"""


def cost(text, flags, limit=600, include=os.path.join(root, "include")):
    """CPU seconds and MB of the compiler, or None when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "stack.cpp")
        with open(source, "w") as f:
            f.write(text)
        command = [os.environ.get("CXX", "g++"), "-std=c++20", *flags, "-I", include, "-w", "-c", source, "-o",
                   os.path.join(folder, "stack.o")]
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # so that the resources are those of this compiler alone
            code = 1
            try:
                code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit).returncode
                used = resource.getrusage(resource.RUSAGE_CHILDREN)
                os.write(write, json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]).encode())
            except subprocess.TimeoutExpired:
                pass
            os._exit(0)
        os.close(write)
        answer = b""
        while part := os.read(read, 4096):
            answer += part
        os.close(read)
        os.waitpid(child, 0)
        if not answer:
            return None
        code, seconds, mb = json.loads(answer)
        return (seconds, mb) if code == 0 else None


def best(text, flags, repetitions):
    found = [c for c in (cost(text, flags) for _ in range(repetitions)) if c]
    return (min(c[0] for c in found), min(c[1] for c in found)) if found else None


def middle(costs):
    """Medians of seconds and of MB, None without any."""
    found = [c for c in costs if c]
    return tuple(statistics.median(c[i] for c in found) for i in (0, 1)) if found else None


def programs(against=None, levels=("-O0", "-O2"), repetitions=3):
    """Whole programs, each with this tree's headers, those of `against` and in dlib by turns."""
    rows = []
    here = os.path.join(root, "benchmarks", "compile", "programs")
    read = lambda name: open(os.path.join(here, name + ".cpp")).read()
    dlib = os.path.exists("/usr/include/dlib/dnn.h")
    with tempfile.TemporaryDirectory() as folder:
        if against:
            archive = subprocess.run(["git", "-C", root, "archive", against, "include"], check=True, stdout=subprocess.PIPE)
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        for level in levels:
            flags = [level] if level == "-O0" else [level, "-march=x86-64-v4"]
            for name in ("fit", "own_loop"):
                ours, before, other = [], [], []
                for _ in range(repetitions):
                    ours.append(cost(read(name), flags))
                    if against:
                        before.append(cost(read(name), flags, include=os.path.join(folder, "include")))
                    if dlib:
                        other.append(cost(read("dlib"), flags))
                ours, before, other = middle(ours), middle(before), middle(other)
                rows.append({"family": "compile", "case": f"program_{name}_{level[1:]}", "ns": ours and 1e9 * ours[0],
                             "hand_ns": None, "floor_ns": None, "peer": other and "dlib", "peer_form": "fc layers",
                             "peer_ns": other and 1e9 * other[0],
                             "mb": ours and ours[1], "before_ns": before and 1e9 * before[0], "before_mb": before and before[1],
                             "peer_mb": other and other[1]})
                text = lambda what, c: f"   {what} {c[0]:6.2f} s {c[1]:5.0f} MB: {ours[0] / c[0]:.2f} {ours[1] / c[1]:.2f} of it" if c else ""
                print(f"compile/program_{name}_{level[1:]:3} {ours[0]:6.2f} s {ours[1]:5.0f} MB" if ours else
                      f"compile/program_{name}_{level[1:]} failed", text(against, before), text("dlib", other), flush=True)
    return rows


def measure(build=None, levels=("-O0", "-O2"), which=depths, repetitions=2, nested_to=128):
    rows = []
    for level in levels:
        flags = [level] if level == "-O0" else [level, "-march=x86-64-v3"]
        base = best(empty, flags, repetitions)
        for different in (False, True):
            for depth in which:
                if level == "-O2" and different and depth > 128:
                    continue  # minutes for one number
                ours = best(stack(depth, different), flags, 1 if depth > 32 else repetitions)
                other = best(nested(depth, different), flags, 1) if depth <= nested_to and level == "-O0" else None
                row = {"family": "compile", "case": f"{'different' if different else 'equal'}_{depth}_{level[1:]}",
                       "ns": ours and 1e9 * ours[0], "hand_ns": other and 1e9 * other[0], "floor_ns": base and 1e9 * base[0],
                       "peer": None, "peer_ns": None, "mb": ours and ours[1], "hand_mb": other and other[1],
                       "floor_mb": base and base[1]}
                rows.append(row)
                show = lambda c: f"{c[0]:7.2f} s {c[1]:6.0f} MB" if c else "      failed     "
                print(f"compile/{row['case']:18} {show(ours)}   nested types {show(other) if other else '-':>17}   empty {show(base)}",
                      flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", action="append", choices=["-O0", "-O2"])
    parser.add_argument("--depth", action="append", type=int, help="stacks of this depth only; 0: no stacks, programs only")
    parser.add_argument("--rounds", type=int, default=3, help="how often every program takes its turn")
    parser.add_argument("--against", metavar="COMMIT", help="compile the programs with the headers of this commit too")
    given = parser.parse_args()
    if not shutil.which(os.environ.get("CXX", "g++")):
        sys.exit("compile.py: there is no C++ compiler")
    programs(given.against, levels=given.level or ("-O0", "-O2"), repetitions=given.rounds)
    if given.depth != [0]:
        measure(levels=given.level or ("-O0", "-O2"), which=given.depth or depths)
