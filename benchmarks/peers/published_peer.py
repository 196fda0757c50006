# SPDX-License-Identifier: Apache-2.0
"""COMET and DSelect-k layers as their authors' programs are built, in eager PyTorch on one CPU core.

COMET: a module for each node of the tree, which holds its own product, and a recursion through them that hands down
probabilities; every node puts the outputs of all experts together anew although only the root reads them ("once": they
are put together once); every expert, a module of its own, works on every row; the weights pass through a permutation of
the experts, here the identity. DSelect-k: codes as a product over the bits of every expert. Metrics are left out.
"""

import torch_peer  # settings of PyTorch

import numpy as np
import torch
import torch.nn.functional as F

import mixtures
import server
from torch_peer import smooth_step


class Node(torch.nn.Module):
    def __init__(self, layer, numbers, at, leaves):
        super().__init__()
        n, k, d = layer.experts, layer.k, layer.width
        self.leaf = at >= n - 1
        self.product = torch.nn.Linear(d, k)
        if self.leaf:
            weight, bias, column = numbers["aw"], numbers["ab"], len(leaves)
            leaves.append(self)
        else:
            weight, bias, column = numbers["zw"], numbers["zb"], at
            self.left = Node(layer, numbers, 2 * at + 1, leaves)
            self.right = Node(layer, numbers, 2 * at + 2, leaves)
        self.column = column
        of_trees = torch.arange(k) * (weight.shape[1] // k) + column
        with torch.no_grad():
            self.product.weight.copy_(weight[:, of_trees].T)
            self.product.bias.copy_(bias[of_trees])

    def forward(self, outputs, x, reached, stack, terms):
        if stack:
            torch.cat([h.unsqueeze(-1) for h in outputs], 2)
        z = self.product(x)
        if self.leaf:
            terms.append(0.1 * (-reached * torch.log(reached + 1e-6)).sum(1).mean())
            score = torch.where(reached > 0, z + torch.log(reached + 1e-8), torch.finfo(z.dtype).min)
            return score.unsqueeze(-1)
        s = smooth_step(z)
        return torch.cat([self.left(outputs, x, s * reached, stack, terms),
                          self.right(outputs, x, (1 - s) * reached, stack, terms)], -1)


class Comet(torch.nn.Module):
    def __init__(self, layer, numbers, stack):
        super().__init__()
        self.layer, self.stack, self.leaves = layer, stack, []
        self.root = Node(layer, numbers, 0, self.leaves)
        self.permutation = torch.eye(layer.experts).repeat(layer.k, 1, 1)

    def forward(self, outputs, x):
        n, k, terms = self.layer.experts, self.layer.k, []
        score = self.root(outputs, x, torch.ones(x.shape[0], k), self.stack, terms)
        h = torch.cat([h.unsqueeze(-1) for h in outputs], 2).unsqueeze(2)
        w = torch.softmax(score.reshape(-1, k * n), -1).reshape(-1, 1, k, n)
        w = torch.einsum("bijk,jkl->bijl", w, self.permutation).sum(2, keepdim=True)
        w = w / w.sum(-1, keepdim=True)
        return (h * w).sum((2, 3)), sum(terms)

    def gradients(self):
        n, k, found = self.layer.experts, self.layer.k, {}
        inner = {m.column: m for m in self.root.modules() if isinstance(m, Node) and not m.leaf}
        for letter, nodes in (("z", [inner[q] for q in range(n - 1)]), ("a", self.leaves)):
            weight = np.stack([m.product.weight.grad.numpy() for m in nodes], 1)  # [trees, nodes, inputs]
            found[letter + "w"] = weight.reshape(k * len(nodes), -1).T
            found[letter + "b"] = np.stack([m.product.bias.grad.numpy() for m in nodes], 1).reshape(-1)
        return found


class DSelectK(torch.nn.Module):
    def __init__(self, layer, numbers, _):
        super().__init__()
        self.layer, self.bits = layer, layer.experts.bit_length() - 1
        self.z = torch.nn.Linear(layer.width, layer.k * self.bits)
        self.w = torch.nn.Linear(layer.width, layer.k)
        with torch.no_grad():
            for product, letter in ((self.z, "z"), (self.w, "a")):
                product.weight.copy_(numbers[letter + "w"].T)
                product.bias.copy_(numbers[letter + "b"])
        codes = [[expert >> self.bits - 1 - m & 1 for m in range(self.bits)] for expert in range(layer.experts)]
        self.codes = torch.tensor(codes, dtype=torch.bool)[None, None]

    def forward(self, outputs, x):
        s = smooth_step(self.z(x)).reshape(-1, self.layer.k, 1, self.bits)
        selector = torch.where(self.codes, s, 1 - s).prod(3)  # rows, k, experts
        w = (torch.softmax(self.w(x), -1).unsqueeze(-1) * selector).sum(1)
        term = 0.1 * (-selector * torch.log(selector + 1e-6)).sum((1, 2)).mean()
        return sum(w[:, e, None] * h for e, h in enumerate(outputs)), term

    def gradients(self):
        return {"zw": self.z.weight.grad.T.numpy(), "zb": self.z.bias.grad.numpy(),
                "aw": self.w.weight.grad.T.numpy(), "ab": self.w.bias.grad.numpy()}


class LayerPass(torch.nn.Module):
    def __init__(self, layer, stack, compiled=False):
        super().__init__()
        numbers = {key: torch.from_numpy(value) for key, value in layer.numbers().items()}
        self.x, self.dy = numbers["x"].requires_grad_(), numbers["dy"]
        self.experts = torch.nn.ModuleList(torch.nn.Linear(layer.width, layer.width) for _ in range(layer.experts))
        with torch.no_grad():
            for e, expert in enumerate(self.experts):
                expert.weight.copy_(numbers["w"][e].T)
                expert.bias.copy_(numbers["b"][e])
        self.gate = (Comet if layer.gate == "comet" else DSelectK)(layer, numbers, stack)
        self.forward_pass = torch.compile(self.whole, dynamic=False) if compiled else self.whole

    def whole(self, x):
        return self.gate([F.relu(expert(x)) for expert in self.experts], x)

    def __call__(self):
        self.x.grad = None
        for p in self.parameters():
            p.grad = None
        y, term = self.forward_pass(self.x)
        torch.autograd.backward([y, term], [self.dy, torch.ones(())])
        return y

    def result(self):
        y = self()
        return {"y": y.detach().numpy(), "x": self.x.grad.numpy(),
                "w": np.stack([e.weight.grad.T.numpy() for e in self.experts]),
                "b": np.stack([e.bias.grad.numpy() for e in self.experts]), **self.gate.gradients()}


def published(layer):
    if layer.gate == "comet":
        forms = {"published": lambda: LayerPass(layer, True), "once": lambda: LayerPass(layer, False)}
        if layer.experts <= 16:
            forms["once, compiled"] = lambda: LayerPass(layer, False, compiled=True)
        return forms
    return {"published": lambda: LayerPass(layer, False)}


cases = {case: published(layer) for case, layer in mixtures.layers.items() if layer.gate != "top_k"}

if __name__ == "__main__":
    server.serve("published structure", torch.__version__, cases)
