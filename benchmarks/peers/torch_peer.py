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

import server

torch.manual_seed(1)
torch.set_num_threads(1)
try:
    import torch._inductor.config as inductor

    inductor.cpp_wrapper = False
    inductor.freezing = False
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
    "step/784-256-10_b128": training(784, 256, 128),
    "step/64-64-10_b64": training(64, 64, 64),
}

if __name__ == "__main__":
    server.serve("pytorch", torch.__version__, cases)
