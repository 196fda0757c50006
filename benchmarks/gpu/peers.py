#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work by PyTorch (eager and compiled, plain and as CUDA graphs) and by kernels in Triton, on the GPU that our
programs were just measured on.

  peers.py [--json FILE] OURS.json...     measures every case of the files, prints a table, writes the joined rows
  peers.py --check                        runs every form of every case once, small, on whatever device there is

Ends with status 77 where PyTorch or a GPU is missing. A form that fails says so and is left out; the fastest form counts.
"""

import argparse
import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("skipped: there is no PyTorch")
    sys.exit(77)
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

device = "cuda" if torch.cuda.is_available() else "cpu"
types = {"bf16": torch.bfloat16, "f32": torch.float32}

if triton:

    @triton.jit
    def triton_epilogue(z, y, n, p, seed, DROP: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        x = tl.maximum(tl.load(z + at, mask=at < n).to(tl.float32), 0.0)
        if DROP:
            x = tl.where(tl.rand(seed, at) > p, x / (1 - p), 0.0)
        tl.store(y + at, x.to(y.dtype.element_ty), mask=at < n)

    @triton.jit
    def triton_adamw(w, g, m, v, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < n
        a, b = tl.load(w + at, mask=inside), tl.load(g + at, mask=inside)
        x, s = tl.load(m + at, mask=inside), tl.load(v + at, mask=inside)
        x += 0.1 * (b - x)
        s = 0.999 * s + 0.001 * b * b
        tl.store(w + at, a - 1e-6 * a - 1e-3 * x / (tl.sqrt(s) * 31.6 + 1e-8), mask=inside)
        tl.store(m + at, x, mask=inside)
        tl.store(v + at, s, mask=inside)


def compiled(function):
    return torch.compile(function, dynamic=False, mode="max-autotune-no-cudagraphs" if device == "cuda" else "default")


# ---- cases: {form: function without arguments that makes the call}; `small` for --check


def epilogue(kind, dtype, small):
    rows, columns = (64, 64) if small else (65536, 1024)
    z = torch.randn(rows, columns, device=device, dtype=dtype)
    if kind.startswith("backward"):
        dy = torch.randn_like(z)
        mask = torch.rand_like(z) < 0.8

        def backward():  # the stored mask is what PyTorch's own dropout keeps for its backward pass
            dz = torch.where(mask & (z > 0), dy * 1.25, 0.0)
            return dz, dz.sum(0, dtype=torch.float32)

        return {"eager": lambda: backward, "compiled": lambda: compiled(backward)}
    drop = "dropout" in kind
    step = {"0_policies": lambda: z.clone(), "relu": lambda: torch.relu(z)}.get(
        kind, lambda: F.dropout(torch.relu(z), 0.2, True))
    forms = {"eager": lambda: step, "compiled": lambda: compiled(step)}
    if triton and device == "cuda" and kind != "0_policies":
        y = torch.empty_like(z)
        forms["triton"] = lambda: lambda: triton_epilogue[(triton.cdiv(z.numel(), 1024),)](
            z, y, z.numel(), 0.2, 7, DROP=drop, BLOCK=1024)
    return forms


def update(kind, n, small):
    n = 4096 if small else n
    w, g = torch.randn(n, device=device), 0.1 * torch.randn(n, device=device)
    m, v = torch.zeros(n, device=device), torch.zeros(n, device=device)
    keep = torch.rand(n, device=device) < 0.5

    def composed():
        d = torch.where(keep, g, 0.0) if "mask" in kind else g
        if "l1" in kind:
            d = d + 1e-4 * torch.sign(w)
        m.lerp_(d, 0.1)
        v.mul_(0.999).addcmul_(d, d, value=0.001)
        w.sub_(1e-6 * w + 1e-3 * m / (v.sqrt() * 31.6 + 1e-8))
        if "mask" in kind:
            w.copy_(torch.where(keep, w, 0.0))

    forms = {"eager": lambda: composed, "compiled": lambda: compiled(composed)}
    if kind == "adamw":

        def fused():
            p = torch.randn(n, device=device, requires_grad=True)
            p.grad = g.clone()
            return torch.optim.AdamW([p], lr=1e-4, weight_decay=1e-2, fused=True, capturable=device == "cuda").step

        forms["fused"] = fused
        if triton and device == "cuda":
            forms["triton"] = lambda: lambda: triton_adamw[(triton.cdiv(n, 1024),)](w, g, m, v, n, BLOCK=1024)
    return forms


def gate(experts, k, small):
    z = torch.randn(256 if small else 1 << 20, experts, device=device)

    def sorting():
        value, expert = torch.topk(z, k, dim=-1)
        return torch.softmax(value, -1), expert

    columns = torch.arange(experts, device=device)

    def passes():
        rest, values, chosen = z, [], []
        for _ in range(k):
            value, expert = torch.max(rest, -1, keepdim=True)
            values.append(value)
            chosen.append(expert)
            rest = torch.where(columns == expert, -torch.inf, rest)
        return torch.softmax(torch.cat(values, -1), -1), torch.cat(chosen, -1)

    return {"eager": lambda: sorting, "compiled": lambda: compiled(sorting), "compiled maxima": lambda: compiled(passes)}


def step(widths, batch, dtype, small):
    if small:
        widths, batch = [32, 16, 10], 8
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
    x = torch.randn(batch, widths[0], device=device, dtype=dtype)
    y = torch.randint(0, 10, (batch,), device=device)

    def make(faster):
        model = torch.nn.Sequential(*layers[:-2]).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=device == "cuda")

        def loss():
            with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                return F.cross_entropy(model(x), y)

        f = torch.compile(loss, dynamic=False) if faster else loss

        def call():
            optimizer.zero_grad(set_to_none=True)
            f().backward()
            optimizer.step()

        return call

    return {"eager fused": lambda: make(False), "compiled fused": lambda: make(True)}


def product(kind, dtype, shape, part, small):
    rows, inner, outer = (16, 8, 8) if small else shape
    rows //= part
    x, dz = torch.randn(rows, inner, device=device, dtype=dtype), torch.randn(rows, outer, device=device, dtype=dtype)
    w = torch.randn(inner, outer, device=device, dtype=dtype)
    call = {"forward": lambda: x @ w, "input_gradient": lambda: dz @ w.t(), "weight_gradient": lambda: x.t() @ dz}[kind]
    return {"eager": lambda: call}


def case_of(name, small=False):
    """The forms of a case of our programs, by its name."""
    family, case = name.split("/")
    parts = case.split("_")
    if family == "epilogue":
        return epilogue("_".join(parts[:-2]), types[parts[-1]], small)
    if family == "update":
        return update(parts[0], 64 << 20 if parts[1] == "64M" else 256 << 10, small)
    if family == "gate":
        return gate(int(parts[2]), int(parts[3]), small)
    if family == "product":  # kind_type_ROWSxINxOUT_all, or the part of the rows that are live: ..._1_8
        at = next(i for i, part in enumerate(parts) if part in types)
        return product("_".join(parts[:at]), types[parts[at]], [int(n) for n in parts[at + 1].split("x")],
                       1 if parts[-1] == "all" else int(parts[-1]), small)
    if family == "step":
        return step([int(w) for w in parts[0].split("-")], int(parts[1][1:]), types[parts[2]], small)
    raise KeyError(name)


# ---- time


def median_ns(call, launches, repetitions=15):
    times = []
    for r in range(-3, repetitions):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(launches):
            call()
        stop.record()
        stop.synchronize()
        if r >= 0:
            times.append(1e6 * start.elapsed_time(stop) / launches)
    return statistics.median(times)


def time_of(call):
    """The better of plain calls and a CUDA graph of ten, and which it was."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    best = (median_ns(call, 10), "")
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(10):
                call()
        best = min(best, (median_ns(graph.replay, 2) / 10, " in a graph"))
    except RuntimeError:  # not everything can be captured
        torch.cuda.synchronize()
    return best


names_to_check = ["epilogue/0_policies_65536x1024_bf16", "epilogue/relu_65536x1024_f32",
                  "epilogue/relu+dropout_65536x1024_bf16", "epilogue/backward_relu+dropout+bias_65536x1024_f32",
                  "update/adamw_64M", "update/adamw+l1_64M", "update/adamw+l1+mask_256k_in_a_graph", "gate/top_k_16_2_1M",
                  "gate/top_k_128_8_1M", "product/forward_f32_4096x1024x1024_all",
                  "product/input_gradient_bf16_512x256x1024_1_8", "product/weight_gradient_f32_512x256x1024_1_2",
                  "step/784-256-10_b128_f32", "step/1024-4096-4096-10_b8192_bf16"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("ours", nargs="*")
    given = parser.parse_args()
    torch.manual_seed(1)
    if given.check:
        for name in names_to_check:
            for form, make in case_of(name, small=True).items():
                make()()
                print(f"{name}, {form}: it runs", flush=True)
        return
    if device == "cpu":
        print("skipped: no GPU")
        sys.exit(77)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows, roofs, machine = [], {}, {}
    for path in given.ours:
        with open(path) as f:
            found = json.load(f)
        rows += found["rows"]
        roofs.update(found["roofs"])
        machine = found["machine"]
    print(f"PyTorch {torch.__version__}, Triton {triton.__version__ if triton else 'is not installed'}")
    print(f"{'case':44} {'ours':>11} {'floor/ours':>10}  peer/ours, fastest form")
    for row in rows:
        name, forms = f"{row['family']}/{row['case']}", {}
        for form, make in case_of(name).items():
            try:
                ns, how = time_of(make())
                forms[form + how] = ns
            except Exception as error:
                print(f"  {name}, {form}: {repr(error)[:150]}")
            torch.cuda.empty_cache()
        if forms:
            best = min(forms, key=forms.get)
            row.update(peer="pytorch", peer_ns=forms[best], peer_form=best, peer_forms=forms)
            told = f"{forms[best] / row['ns']:8.2f}  {best}, {forms[best] / 1e3:.2f} us"
        floor = f"{row['floor_ns'] / row['ns']:10.2f}" if row["floor_ns"] else " " * 10
        print(f"{name:44} {row['ns'] / 1e3:8.2f} us {floor}  {told if forms else '-'}", flush=True)
    if given.json:
        with open(given.json, "w") as f:
            json.dump({"rows": rows, "roofs": roofs, "machine": machine, "peers": {"pytorch": torch.__version__}}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
