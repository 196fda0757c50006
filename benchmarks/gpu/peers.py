#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work by PyTorch (eager and compiled, plain and as CUDA graphs) and by kernels in Triton, on the GPU that our
programs were just measured on.

  peers.py [--json FILE] [--seconds N] OURS.json...    measures every case of the files, prints a table, writes the joined
                                                       rows; begins no case when N seconds are over
  peers.py --check                                     runs every form of every case once, small, on whatever device there is

Ends with status 77 where PyTorch or a GPU is missing. A form that fails says so and is left out; the fastest form counts.
"""

import argparse
import json
import math
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("skipped: there is no PyTorch")
    sys.exit(77)
try:
    import torch._dynamo.config as dynamo_settings
    import torch._functorch.config as gradient_settings

    # Cases share functions: past the limit a function would silently run uncompiled.
    dynamo_settings.recompile_limit = 256
    # A backward pass alone is measured again and again, so it must leave what it reads alone.
    gradient_settings.donated_buffer = False
except (AttributeError, ImportError):
    pass
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


def prune(kept, n, small):
    n = 4096 if small else n
    w = torch.randn(n, device=device)
    keep = n // 2 if kept == "half" else n // 10
    mask = torch.zeros(n, dtype=torch.bool, device=device)

    def by_top_k():
        mask.zero_()
        mask[torch.topk(w.abs(), keep, sorted=False).indices] = True

    def by_threshold():  # as torch.nn.utils.prune and most scripts do: more stay where weights are equal
        torch.ge(w.abs(), torch.kthvalue(w.abs(), n - keep + 1).values, out=mask)

    return {"topk": lambda: by_top_k, "kthvalue": lambda: by_threshold}


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


# ---- mixtures of experts


def pairs_by_expert(expert, experts):
    """Slots in the order of their experts (row after row), how many each expert has, and the place of each slot."""
    flat = expert.reshape(-1)
    order = torch.argsort(flat, stable=True)
    count = torch.zeros(experts, device=device, dtype=torch.int64).scatter_add_(0, flat, torch.ones_like(flat))
    place = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=device))
    return order, count, place


def dispatch(kind, experts, rows, width, dtype, small):
    if small:
        rows, width = 64, 16
    x = torch.randn(rows, width, device=device, dtype=dtype)
    w = torch.softmax(torch.randn(rows, 2, device=device), -1)
    expert = torch.rand(rows, experts, device=device).argsort(1)[:, :2].contiguous()
    order, _, place = pairs_by_expert(expert, experts)
    row, blocks = order // 2, torch.randn(2 * rows, width, device=device, dtype=dtype)

    def scattered(blocks, row, order):
        return torch.zeros_like(x).index_add_(0, row, blocks * w.reshape(-1)[order][:, None].to(dtype))

    def gathered(blocks, place):
        return (blocks.index_select(0, place).view(rows, 2, width) * w[:, :, None]).sum(1).to(dtype)

    def whole_scattered():
        order, count, _ = pairs_by_expert(expert, experts)
        blocks = x.index_select(0, order // 2)
        return blocks, count, scattered(blocks, order // 2, order)

    def whole_gathered():
        order, count, place = pairs_by_expert(expert, experts)
        blocks = x.index_select(0, order // 2)
        return blocks, count, gathered(blocks, place)

    return {
        "top2": {"eager": lambda: whole_scattered, "eager, gathering": lambda: whole_gathered,
                 "compiled, gathering": lambda: compiled(whole_gathered)},
        "table": {"eager": lambda: lambda: pairs_by_expert(expert, experts)},
        "gather": {"eager": lambda: lambda: x.index_select(0, row)},
        "combine": {"eager": lambda: lambda: scattered(blocks, row, order),
                    "compiled, gathering": lambda: compiled(lambda: gathered(blocks, place))},
    }[kind]


def smooth_step(t):
    u = t.clamp(-0.5, 0.5)
    return u * (1.5 - 2 * u * u) + 0.5


def comet_weights(z, experts, trees):
    """Columns of the logits as in our product: each tree's splits, then its leaves."""
    z = z.float().view(-1, trees, 2 * experts - 1)
    s, a = smooth_step(z[:, :, : experts - 1]), z[:, :, experts - 1 :]
    reach = torch.ones_like(s[:, :, :1])
    while reach.shape[-1] < experts:
        width = reach.shape[-1]
        here = s[:, :, width - 1 : 2 * width - 1]
        reach = torch.stack([reach * here, reach * (1 - here)], -1).flatten(-2)
    u = torch.where(reach > 0, a + torch.log(reach + 1e-8), -torch.inf)
    g = torch.softmax(u.flatten(1), -1).view(-1, trees, experts).sum(1)
    return g, 0.1 * (-reach * torch.log(reach + 1e-6)).sum((1, 2)).mean()


def dselect_weights(z, experts, k):
    bits = experts.bit_length() - 1
    z = z.float()
    s, alpha = smooth_step(z[:, : k * bits]).view(-1, k, bits), torch.softmax(z[:, k * bits :], -1)
    r = torch.ones_like(s[:, :, :1])
    for m in range(bits):
        r = torch.stack([r * (1 - s[:, :, m : m + 1]), r * s[:, :, m : m + 1]], -1).flatten(-2)
    return (alpha[:, :, None] * r).sum(1), 0.1 * (-r * torch.log(r + 1e-6)).sum((1, 2)).mean()


soft_gates = {"comet": (comet_weights, lambda experts, k: k * (2 * experts - 1)),
              "dselect": (dselect_weights, lambda experts, k: k * (experts.bit_length() - 1) + k)}


def soft_gate(kind, name, experts, k, rows, width, dtype, small):
    rows, width = (16, 8) if small else (rows, width)
    weights, columns = soft_gates[name]
    logits = columns(experts, k)
    z = 0.3 * torch.randn(rows, logits, device=device)
    z = z.to(dtype)
    if kind == "gate":
        x, w = torch.randn(rows, width, device=device, dtype=dtype), 0.01 * torch.randn(width, logits, device=device)
        w, b = w.to(dtype), torch.zeros(logits, device=device, dtype=dtype)

        def step():
            return weights(torch.addmm(b, x, w), experts, k)

    elif kind == "rows":

        def step():
            return weights(z, experts, k)

    if kind != "rows_backward":
        return {"eager": lambda: step, "compiled": lambda: compiled(step)}
    z.requires_grad_()
    given = [torch.randn(rows, experts, device=device), torch.ones((), device=device)]

    def make(faster):
        # As a function of its argument: what is compiled must see that a gradient is wanted.
        forward = compiled(lambda z: weights(z, experts, k)) if faster else lambda z: weights(z, experts, k)
        outputs = forward(z)
        return lambda: torch.autograd.grad(outputs, z, given, retain_graph=True)

    return {"eager": lambda: make(False), "compiled": lambda: make(True)}


def all_gradients(forward, parameters, x, dy, faster):
    """A call that runs forward(parameters, x) -> (y, term or None) and all gradients, those of x included."""
    f = compiled(forward) if faster else forward
    inputs = [p for value in parameters.values() for p in (value if isinstance(value, list) else [value])] + [x]
    for p in inputs:
        p.requires_grad_()
    one = torch.ones((), device=device)

    def call():
        y, term = f(parameters, x)
        if term is None:
            return torch.autograd.grad([y], inputs, [dy])
        return torch.autograd.grad([y, term], inputs, [dy, one])

    return call


class Node(torch.nn.Module):
    """A node of the published COMET: its own product, and the outputs of all experts put together anew."""

    def __init__(self, experts, trees, width, at=0):
        super().__init__()
        self.product = torch.nn.Linear(width, trees, device=device)
        self.leaf = at >= experts - 1
        if not self.leaf:
            self.left = Node(experts, trees, width, 2 * at + 1)
            self.right = Node(experts, trees, width, 2 * at + 2)

    def forward(self, outputs, x, reached, terms):
        torch.cat([h.unsqueeze(-1) for h in outputs], 2)
        z = self.product(x)
        if self.leaf:
            terms.append(0.1 * (-reached * torch.log(reached + 1e-6)).sum(1).mean())
            return torch.where(reached > 0, z + torch.log(reached + 1e-8), torch.finfo(z.dtype).min).unsqueeze(-1)
        s = smooth_step(z)
        return torch.cat([self.left(outputs, x, s * reached, terms), self.right(outputs, x, (1 - s) * reached, terms)], -1)


def comet_layer(experts, trees, rows, width, dtype, phase, small):
    """Experts width -> width with relu. All forms run every expert on every row, also once the gate is sparse."""
    rows = 32 if small else rows
    x = torch.randn(rows, width, device=device, dtype=dtype)
    x = x + torch.where(x < 0, -0.25, 0.25).to(dtype)
    dy = torch.randn_like(x)
    gate = torch.zeros(width, trees, 2 * experts - 1, device=device)
    gate[:, :, experts - 1 :] = 0.03 * torch.randn(width, trees, experts, device=device)
    for split in range(trees * (experts - 1)):
        tree, q = divmod(split, experts - 1)
        if phase == "sparse":
            gate[split % width, tree, q] = 5.0
        else:
            gate[:, tree, q] = 0.006 * torch.randn(width, device=device)
    p = {"gate": gate.flatten(1).to(dtype), "gate_bias": torch.zeros(trees * (2 * experts - 1), device=device, dtype=dtype),
         "w": (math.sqrt(2 / width) * torch.randn(experts, width, width, device=device)).to(dtype),
         "b": (0.1 * torch.randn(experts, width, device=device)).to(dtype)}

    def weights(p, x):
        return comet_weights(torch.addmm(p["gate_bias"], x, p["gate"]), experts, trees)

    def batched(p, x):
        g, term = weights(p, x)
        h = torch.relu(torch.baddbmm(p["b"][:, None], x.expand(experts, -1, -1), p["w"]))
        return torch.einsum("ebo,be->bo", h, g.to(x.dtype)), term

    def wide(p, x):
        g, term = weights(p, x)
        h = torch.relu(torch.addmm(p["b"].view(-1), x, p["w"].transpose(0, 1).reshape(width, -1))).view(-1, experts, width)
        return torch.bmm(g.to(x.dtype).unsqueeze(1), h).squeeze(1), term

    def published():
        root = Node(experts, trees, width)
        modules = torch.nn.ModuleList(torch.nn.Linear(width, width, device=device) for _ in range(experts))

        def forward(_, x):
            outputs, terms = [F.relu(expert(x)) for expert in modules], []
            score = root(outputs, x, torch.ones(x.shape[0], trees, device=device), terms)
            w = torch.softmax(score.flatten(1), -1).view(-1, 1, trees, experts).sum(2, keepdim=True)
            h = torch.cat([h.unsqueeze(-1) for h in outputs], 2).unsqueeze(2)
            return (h * w).sum((2, 3)), sum(terms)

        return all_gradients(forward, {"all": [*root.parameters(), *modules.parameters()]}, x, dy, False)

    forms = {"wide": lambda: all_gradients(wide, p, x, dy, False),
             "wide, compiled": lambda: all_gradients(wide, p, x, dy, True),
             "batched, compiled": lambda: all_gradients(batched, p, x, dy, True)}
    if dtype == torch.float32:
        forms["published structure"] = published
    return forms


def mixture(experts, k, rows, width, hidden, dtype, small):
    """Experts width -> hidden with gelu -> width behind the best k of the logits; parameters in the type of the products."""
    if small:
        rows, width, hidden = 64, 16, 32
    room = math.ceil(1.25 * k * rows / experts)
    x, dy = (torch.randn(rows, width, device=device, dtype=dtype) for _ in range(2))

    def numbers(*shape):
        return torch.randn(*shape, device=device, dtype=dtype) / math.sqrt(width)

    def together():
        return {"gate": numbers(width, experts), "w": numbers(experts, width, hidden), "b": numbers(experts, 1, hidden),
                "v": numbers(experts, hidden, width), "c": numbers(experts, 1, width)}

    def winners(p, x):
        value, expert = torch.topk((x @ p["gate"]).float(), k, dim=-1)
        return torch.softmax(value, -1).to(x.dtype), expert

    def loop(p, x):  # over the experts, each on its rows of a sorted copy; every expert has tensors of its own
        g, expert = winners(p, x)
        flat = expert.reshape(-1)
        order = torch.argsort(flat, stable=True)
        blocks = x.index_select(0, order // k).split(torch.bincount(flat, minlength=experts).tolist())
        out = torch.cat([torch.addmm(p["c"][e], F.gelu(torch.addmm(p["b"][e], block, p["w"][e])), p["v"][e])
                         for e, block in enumerate(blocks)])
        return torch.zeros_like(x).index_add(0, order // k, out * g.reshape(-1)[order][:, None]), None

    def batched(p, x):  # blocks of a capacity, all first choices before the second ones; one more place takes the rest
        g, expert = winners(p, x)
        order, count, place = pairs_by_expert(expert.t(), experts)
        flat = expert.t().reshape(-1)
        within = place - (torch.cumsum(count, 0) - count)[flat]
        at = torch.where(within < room, flat * room + within, experts * room)
        row = torch.arange(rows, device=device).repeat(k)
        blocks = x.new_zeros(experts * room + 1, width).index_copy(0, at, x.index_select(0, row))
        h = F.gelu(torch.baddbmm(p["b"], blocks[:-1].view(experts, room, width), p["w"]))
        out = torch.baddbmm(p["c"], h, p["v"]).view(-1, width)
        out = torch.cat([out, out.new_zeros(1, width)]).index_select(0, at).view(k, rows, width)
        return (out * g.t()[:, :, None]).sum(0), None

    product = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)

    def grouped(p, x):
        g, expert = winners(p, x)
        order, count, place = pairs_by_expert(expert, experts)
        ends, of = torch.cumsum(count, 0).to(torch.int32), expert.reshape(-1)[order]
        h = product(x.index_select(0, order // k), p["w"], offs=ends) + p["b"].squeeze(1).index_select(0, of)
        out = product(F.gelu(h), p["v"], offs=ends) + p["c"].squeeze(1).index_select(0, of)
        return (out.index_select(0, place).view(rows, k, width) * g[:, :, None]).sum(1), None

    def separate():
        p = together()
        return {key: value if key == "gate" else [part.clone() for part in value.unbind(0)] for key, value in p.items()}

    forms = {"loop over sorted rows": lambda: all_gradients(loop, separate(), x, dy, False),
             "batched with a capacity": lambda: all_gradients(batched, together(), x, dy, False),
             "batched with a capacity, compiled": lambda: all_gradients(batched, together(), x, dy, True)}
    if product and device == "cuda":
        forms["grouped products"] = lambda: all_gradients(grouped, together(), x, dy, False)
        forms["grouped products, compiled"] = lambda: all_gradients(grouped, together(), x, dy, True)
    return forms


def work_of(name):
    """The name without the way in which our program does the work: peers are measured once for it."""
    name = name.removesuffix("_in_a_graph")
    if name.split("/")[0] in ("dispatch", "comet", "moe"):
        for way in ("capacity", "counted", "automatic", "dense"):
            name = name.removesuffix("_" + way)
    return name


def case_of(name, small=False):
    """The forms of a case of our programs, by its name."""
    family, case = work_of(name).split("/")
    parts = case.split("_")
    if family == "dispatch":  # kind_EXPERTS_ROWSxWIDTH_type
        return dispatch(parts[0], int(parts[1]), *(int(n) for n in parts[2].split("x")), types[parts[3]], small)
    if family == "comet":  # kind_gate_EXPERTS_K_ROWS[xWIDTH]_type[_phase]
        at = next(i for i, part in enumerate(parts) if part in soft_gates)
        kind, size = "_".join(parts[:at]), [int(n) for n in parts[at + 3].split("x")]
        experts, k, dtype = int(parts[at + 1]), int(parts[at + 2]), types[parts[at + 4]]
        if kind == "layer":
            return comet_layer(experts, k, *size, dtype, parts[at + 5], small)
        return soft_gate(kind, parts[at], experts, k, size[0], size[-1], dtype, small)
    if family == "moe":  # top_k_EXPERTS_K_ROWSxWIDTHxHIDDEN_type
        return mixture(int(parts[2]), int(parts[3]), *(int(n) for n in parts[4].split("x")), types[parts[5]], small)
    if family == "epilogue":
        return epilogue("_".join(parts[:-2]), types[parts[-1]], small)
    if family == "update":
        return update(parts[0], 64 << 20 if parts[1] == "64M" else 256 << 10, small)
    if family == "prune":
        return prune(parts[0], int(parts[1].removesuffix("M")) << 20, small)
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


def measure(name):
    """ns of every form of a case that runs."""
    found = {}
    for form, make in case_of(name).items():
        try:
            ns, how = time_of(make())
            found[form + how] = ns
        except Exception as error:
            print(f"  {name}, {form}: {repr(error)[:150]}")
        torch.cuda.empty_cache()
    return found


names_to_check = ["epilogue/0_policies_65536x1024_bf16", "epilogue/relu_65536x1024_f32",
                  "epilogue/relu+dropout_65536x1024_bf16", "epilogue/backward_relu+dropout+bias_65536x1024_f32",
                  "update/adamw_64M", "update/adamw+l1_64M", "update/adamw+l1+mask_256k_in_a_graph", "prune/half_4M",
                  "gate/top_k_16_2_1M", "gate/top_k_128_8_1M", "product/forward_f32_4096x1024x1024_all",
                  "product/input_gradient_bf16_512x256x1024_1_8", "product/weight_gradient_f32_512x256x1024_1_2",
                  "step/784-256-10_b128_f32", "step/1024-4096-4096-10_b8192_bf16",
                  "dispatch/top2_64_65536x1024_bf16_capacity", "dispatch/top2_64_65536x1024_f32_counted_in_a_graph",
                  "dispatch/table_64_65536x1024_bf16_counted_in_a_graph",
                  "dispatch/gather_64_65536x1024_bf16_capacity_in_a_graph",
                  "dispatch/combine_64_65536x1024_bf16_capacity_in_a_graph", "comet/gate_comet_64_4_262144x1024_bf16",
                  "comet/rows_dselect_64_2_262144_bf16", "comet/rows_backward_comet_16_2_262144_bf16",
                  "comet/layer_comet_16_2_262144x64_f32_open_dense",
                  "comet/layer_comet_16_2_262144x64_f32_sparse_automatic_in_a_graph",
                  "moe/top_k_64_2_16384x1024x4096_bf16_capacity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("ours", nargs="*")
    given = parser.parse_args()
    begun = time.monotonic()
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
    print(f"{'case':64} {'ours':>11} {'floor/ours':>10}  peer/ours, fastest form")
    # Whole layers come last: compiling them takes longest.
    rows.sort(key=lambda row: row["family"] in ("comet", "moe"))
    measured, left_out = {}, 0
    for row in rows:
        name = f"{row['family']}/{row['case']}"
        work = work_of(name)
        if work not in measured:
            if time.monotonic() - begun > given.seconds:
                left_out += 1
                continue
            measured[work] = measure(name)
        forms, told = measured[work], "-"
        if forms:
            best = min(forms, key=forms.get)
            row.update(peer="pytorch", peer_ns=forms[best], peer_form=best, peer_forms=forms)
            told = f"{forms[best] / row['ns']:8.2f}  {best}, {forms[best] / 1e3:.2f} us"
        floor = f"{row['floor_ns'] / row['ns']:10.2f}" if row["floor_ns"] else " " * 10
        print(f"{name:64} {row['ns'] / 1e3:8.2f} us {floor}  {told}", flush=True)
        if given.json:  # after every case: what was measured stays when somebody stops us
            with open(given.json, "w") as f:
                json.dump({"rows": rows, "roofs": roofs, "machine": machine, "peers": {"pytorch": torch.__version__}}, f,
                          indent=1)
                f.write("\n")
    if left_out:
        print(f"no time was left for {left_out} cases")


if __name__ == "__main__":
    main()
