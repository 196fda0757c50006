# SPDX-License-Identifier: Apache-2.0
"""PyTorch on one CPU core: eager (with fused optimizers) and torch.compile; the faster form of each case counts."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
os.environ.setdefault("TORCH_LOGS", "-all")

import warnings

warnings.filterwarnings("ignore")

import torch
import torch.nn.functional as F

import mixtures
import server

torch.manual_seed(1)
torch.set_num_threads(1)
try:
    import torch._inductor.config as inductor

    inductor.cpp_wrapper = False
    inductor.freezing = False
    # Cases share functions: past the limit a function would silently run uncompiled.
    torch._dynamo.config.recompile_limit = 256
except ImportError:
    pass


def product(m, k, n):
    def make():
        x, w, b, out = torch.randn(m, k), torch.randn(k, n), torch.randn(n), torch.empty(m, n)
        return lambda: torch.addmm(b, x, w, out=out)

    return {"eager": make}


def dropout(rows, columns):
    x = torch.randn(rows, columns)

    def chain(x):
        return F.dropout(torch.relu(x), 0.2, True)

    def eager():
        return lambda: chain(x)

    def compiled():
        f = torch.compile(chain, dynamic=False)
        return lambda: f(x)

    return {"eager": eager, "compiled": compiled}


def gate(function, experts):
    """Eager and compiled; the rows are 4096."""
    z = torch.randn(4096, experts)

    def eager():
        return lambda: function(z)

    def compiled():
        f = torch.compile(function, dynamic=False)
        return lambda: f(z)

    return {"eager": eager, "compiled": compiled}


def top_k(experts, k):
    def sorting(z):
        value, expert = torch.topk(z, k, dim=-1)
        return torch.softmax(value, -1), expert

    def passes(z):  # k times the largest of what is left
        values, chosen = [], []
        columns = torch.arange(experts)
        for _ in range(k):
            value, expert = torch.max(z, -1, keepdim=True)
            values.append(value)
            chosen.append(expert)
            z = torch.where(columns == expert, -torch.inf, z)
        return torch.softmax(torch.cat(values, -1), -1), torch.cat(chosen, -1)

    first, second = gate(sorting, experts), gate(passes, experts)
    return {"eager": first["eager"], "compiled": first["compiled"], "compiled maxima": second["compiled"]}


def softmax(experts):
    return gate(lambda z: torch.softmax(z, -1), experts)


def adamw(n):
    def fused():
        p = torch.randn(n, requires_grad=True)
        p.grad = torch.randn(n) * 0.1
        optimizer = torch.optim.AdamW([p], lr=1e-4, weight_decay=1e-2, fused=True)
        return optimizer.step

    return {"fused": fused, "compiled": lambda: composed(n, 0.0, 0.0, False)}


def composed(n, l1, anchor, mask):
    w, m, v, g, a = torch.randn(n), torch.zeros(n), torch.zeros(n), torch.randn(n) * 0.1, torch.randn(n)
    keep = torch.rand(n) < 0.5

    def step(w, m, v, g, a, keep):
        if mask:
            g = torch.where(keep, g, 0.0)
        if l1:
            g = g + l1 * torch.sign(w)
        if anchor:
            g = g + anchor * (w - a)
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        w.sub_(1e-6 * w + 1e-3 * m / (v.sqrt() * 31.6 + 1e-8))
        if mask:
            w.copy_(torch.where(keep, w, 0.0))

    f = torch.compile(step, dynamic=False)

    def call():
        with torch.no_grad():
            f(w, m, v, g, a, keep)

    return call


def threshold_mask(n, sparsity):
    gone = round(n * sparsity)

    def make(mask):
        def build():
            w = torch.randn(n)
            return lambda: mask(w.abs())

        return build

    none = torch.zeros(n, dtype=torch.bool)
    return {"kthvalue": make(lambda x: x > torch.kthvalue(x, gone).values),
            "topk": make(lambda x: none.index_fill(0, torch.topk(x, n - gone, sorted=False).indices, True))}


def training(inputs, hidden, batch):
    def make(compiled):
        def build():
            model = torch.nn.Sequential(
                torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 10))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            x, y = torch.randn(batch, inputs), torch.randint(0, 10, (batch,))

            def loss(x, y):
                return F.cross_entropy(model(x), y)

            f = torch.compile(loss, dynamic=False) if compiled else loss

            def call():
                optimizer.zero_grad(set_to_none=True)
                f(x, y).backward()
                optimizer.step()

            return call

        return build

    return {"eager fused": make(False), "compiled fused": make(True)}


# ---- layers of experts, forward and all gradients


def smooth_step(t):
    u = t.clamp(-0.5, 0.5)
    return u * (1.5 - 2 * u * u) + 0.5


def comet_weights(p, x, n, k):
    logits = torch.addmm(torch.cat([p["zb"], p["ab"]]), x, torch.cat([p["zw"], p["aw"]], 1))
    s = smooth_step(logits[:, : k * (n - 1)]).view(-1, k, n - 1)
    a = logits[:, k * (n - 1) :].reshape(-1, k, n)
    reach = torch.ones(x.shape[0], k, 1)
    while reach.shape[-1] < n:
        width = reach.shape[-1]
        here = s[:, :, width - 1 : 2 * width - 1]
        reach = torch.stack([reach * here, reach * (1 - here)], -1).view(-1, k, 2 * width)
    u = torch.where(reach > 0, a + torch.log(reach + 1e-8), -torch.inf)
    g = torch.softmax(u.view(-1, k * n), -1).view(-1, k, n).sum(1)
    return g, 0.1 * (-reach * torch.log(reach + 1e-6)).sum((1, 2)).mean()


def dselect_weights(p, x, n, k):
    bits = n.bit_length() - 1
    logits = torch.addmm(torch.cat([p["zb"], p["ab"]]), x, torch.cat([p["zw"], p["aw"]], 1))
    s = smooth_step(logits[:, : k * bits]).view(-1, k, bits)
    r = torch.ones(x.shape[0], k, 1)
    for m in range(bits):
        r = torch.stack([r * (1 - s[:, :, m : m + 1]), r * s[:, :, m : m + 1]], -1).view(x.shape[0], k, -1)
    alpha = torch.softmax(logits[:, k * bits :], -1)
    return torch.einsum("bk,bkn->bn", alpha, r), 0.1 * (-r * torch.log(r + 1e-6)).sum((1, 2)).mean()


def winners(p, x, k):
    value, expert = torch.topk(torch.addmm(p["ab"], x, p["aw"]), k, dim=-1)
    return torch.softmax(value, -1), expert


def top_k_weights(p, x, n, k):
    g, expert = winners(p, x, k)
    return torch.zeros(x.shape[0], n).scatter(1, expert, g), torch.zeros(())


gates = {"comet": comet_weights, "dselect_k": dselect_weights, "top_k": top_k_weights}


class LayerPass:
    """Parameters as a dictionary; `separate` gives every expert tensors of its own."""

    def __init__(self, layer, forward, separate=False, compiled=False):
        numbers = {key: torch.from_numpy(value) for key, value in layer.numbers().items()}
        self.dy = numbers.pop("dy")
        self.separate = separate
        if separate:
            for key in ("w", "b"):
                for e, part in enumerate(numbers.pop(key).unbind(0)):
                    numbers[f"{key}{e}"] = part.clone()
        self.p = {key: value.requires_grad_() for key, value in numbers.items() if value.numel()}
        self.inputs = list(self.p.values())
        self.forward = torch.compile(forward, dynamic=False) if compiled else forward

    def run(self):
        y, term = self.forward(self.p, self.p["x"])
        outputs, given = ([y, term], [self.dy, torch.ones(())]) if term.requires_grad else ([y], [self.dy])
        return y, torch.autograd.grad(outputs, self.inputs, given)

    def __call__(self):
        self.run()

    def result(self):
        y, gradients = self.run()
        found = {key: g.numpy() for key, g in zip(self.p, gradients)}
        if self.separate:
            import numpy as np

            for key in ("w", "b"):
                own = [name for name in found if name[0] == key and name[1:].isdigit()]
                found[key] = np.stack([found.pop(name) for name in sorted(own, key=lambda name: int(name[1:]))])
        return {"y": y.detach().numpy(), **found}


def layer_of_experts(layer):
    n, k, d = layer.experts, layer.k, layer.width

    def batched(p, x):
        g, term = gates[layer.gate](p, x, n, k)
        h = torch.relu(torch.baddbmm(p["b"][:, None], x.expand(n, -1, -1), p["w"]))
        return torch.einsum("ebo,be->bo", h, g), term

    def wide(p, x):
        g, term = gates[layer.gate](p, x, n, k)
        h = torch.relu(torch.addmm(p["b"].view(-1), x, p["w"].transpose(0, 1).reshape(d, -1))).view(-1, n, d)
        return torch.bmm(g.unsqueeze(1), h).squeeze(1), term

    def loop(p, x):
        g, expert = winners(p, x, k)
        y = torch.zeros(x.shape[0], d)
        for e in range(n):
            row, slot = torch.where(expert == e)
            h = torch.relu(torch.addmm(p[f"b{e}"], x.index_select(0, row), p[f"w{e}"]))
            y = y.index_add(0, row, h * g[row, slot, None])
        return y, torch.zeros(())

    def sorted_loop(p, x):
        g, expert = winners(p, x, k)
        flat = expert.reshape(-1)
        order = torch.argsort(flat, stable=True)
        row = order // k
        gathered = x.index_select(0, row)
        blocks = gathered.split(torch.bincount(flat, minlength=n).tolist())
        h = torch.cat([torch.relu(torch.addmm(p[f"b{e}"], block, p[f"w{e}"])) for e, block in enumerate(blocks)])
        return torch.zeros(x.shape[0], d).index_add(0, row, h * g.reshape(-1)[order][:, None]), torch.zeros(())

    forms = {"batched": lambda: LayerPass(layer, batched), "wide": lambda: LayerPass(layer, wide),
             "wide compiled": lambda: LayerPass(layer, wide, compiled=True)}
    if layer.gate == "top_k":
        forms["loop"] = lambda: LayerPass(layer, loop, separate=True)
        forms["sorted loop"] = lambda: LayerPass(layer, sorted_loop, separate=True)
    return forms


# ---- dispatch: rows to the experts' blocks, and their weighted sums back


def dispatch(rows, width, experts):
    def there_and_back(x, w, e):
        flat = e.reshape(-1)
        order = torch.argsort(flat, stable=True)
        row = order // 2
        gathered = x.index_select(0, row)
        y = torch.zeros_like(x).index_add_(0, row, gathered * w.reshape(-1)[order][:, None])
        return gathered, torch.bincount(flat, minlength=experts), y

    def make(compiled):
        def build():
            x, w = torch.randn(rows, width), torch.softmax(torch.randn(rows, 2), -1)
            e = torch.rand(rows, experts).argsort(1)[:, :2].contiguous()
            f = torch.compile(there_and_back, dynamic=False) if compiled else there_and_back
            return lambda: f(x, w, e)

        return build

    return {"eager": make(False), "compiled": make(True)}


cases = {
    "product/128x784x256": product(128, 784, 256),
    "product/128x256x10": product(128, 256, 10),
    "product/64x64x64": product(64, 64, 64),
    "product/512x512x512": product(512, 512, 512),
    "dropout/relu+dropout_128x512": dropout(128, 512),
    "dropout/relu+dropout_32768x512": dropout(32768, 512),
    "gate/top_k_16_2": top_k(16, 2),
    "gate/top_k_64_2": top_k(64, 2),
    "gate/top_k_128_8": top_k(128, 8),
    "gate/softmax_16": softmax(16),
    "gate/softmax_64": softmax(64),
    "gate/softmax_128": softmax(128),
    "update/adamw_20k": adamw(20 << 10),
    "update/adamw_4M": adamw(4 << 20),
    "update/adamw+l1+anchor+mask_4M": {"compiled": lambda: composed(4 << 20, 1e-4, 1e-3, True)},
    **{f"prune/per_layer_{s}_{name}": threshold_mask(n, s)
       for s in (0.5, 0.9) for name, n in (("20k", 20 << 10), ("4M", 4 << 20))},
    "step/784-256-10_b128": training(784, 256, 128),
    "step/64-64-10_b64": training(64, 64, 64),
    "dispatch/top2_16_512x64": dispatch(512, 64, 16),
    "dispatch/top2_16_512x256": dispatch(512, 256, 16),
    "dispatch/top2_64_4096x256": dispatch(4096, 256, 64),
} | {case: layer_of_experts(layer) for case, layer in mixtures.layers.items()}

if __name__ == "__main__":
    server.serve("pytorch", torch.__version__, cases)
