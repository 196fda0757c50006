#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mixtures with COMET and DSelect-k gates, built the way their authors' programs build them, against Espalier.

usage: gates.py TOOL     (TOOL: the program built from gate_tool.cpp)

The reference has an object for every node of every tree and for every selector, and runs every expert on every row. Its
gradients come from the complex step: in float64 they are exact to rounding. Exit status 77 (skipped) without NumPy.
"""
import itertools
import subprocess
import sys

try:
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

IN, OUT, ROWS = 5, 3, 12
WIDTH, ENTROPY, REACHABLE = 0.8, 0.3, 0.2


def smooth_step(t):
    u = t / WIDTH
    inside = -2.0 * u * u * u + 1.5 * u + 0.5
    return numpy.where(u.real <= -0.5, 0.0, numpy.where(u.real >= 0.5, 1.0, inside))


class node:
    """A split, or a leaf with the number of its expert, of a tree over `experts` leaves; children by heap number."""

    def __init__(self, heap, experts, take_split, take_leaf):
        self.leaf = heap >= experts - 1
        if self.leaf:
            self.column = take_leaf()
        else:
            self.column = take_split(heap)
            self.left = node(2 * heap + 1, experts, take_split, take_leaf)
            self.right = node(2 * heap + 2, experts, take_split, take_leaf)

    def walk(self, logits, probability):
        if self.leaf:
            return [(probability, logits[:, self.column])]
        s = smooth_step(logits[:, self.column])
        return self.left.walk(logits, probability * s) + self.right.walk(logits, probability * (1.0 - s))


def comet(experts, trees):
    per_tree = 2 * experts - 1
    roots = []
    for j in range(trees):
        leaves = itertools.count(j * per_tree + experts - 1)
        roots.append(node(0, experts, lambda heap, j=j: j * per_tree + heap, lambda leaves=leaves: next(leaves)))

    def gate(logits):
        one = numpy.ones(len(logits), dtype=logits.dtype)
        pairs = [tree.walk(logits, one) for tree in roots]
        p = numpy.stack([leaf[0] for tree in pairs for leaf in tree], axis=1)
        a = numpy.stack([leaf[1] for tree in pairs for leaf in tree], axis=1)
        live = p.real > 0.0
        u = a + numpy.log(numpy.where(live, p, 1.0) + 1e-8)
        top = numpy.where(live, u.real, -numpy.inf).max(axis=1, keepdims=True)
        e = numpy.where(live, numpy.exp(u - top), 0.0)
        w = e / e.sum(axis=1, keepdims=True)
        g = w.reshape(len(logits), trees, experts).sum(axis=1)
        omega = (-p * numpy.log(p + 1e-6)).sum() / len(logits)
        return g, ENTROPY * omega

    return trees * per_tree, gate


class selector:
    """One single-expert selector: a smooth binary code."""

    def __init__(self, columns, experts):
        self.columns, self.experts = columns, experts

    def __call__(self, logits):
        bits = [smooth_step(logits[:, c]) for c in self.columns]
        r = []
        for expert in range(self.experts):
            code = f"{expert:0{len(bits)}b}"
            product = numpy.ones(len(logits), dtype=logits.dtype)
            for bit, s in zip(code, bits):
                product = product * (s if bit == "1" else 1.0 - s)
            r.append(product)
        return numpy.stack(r, axis=1)


def dselect(experts, k):
    bits = (experts - 1).bit_length()
    selectors = [selector(range(i * bits, (i + 1) * bits), experts) for i in range(k)]

    def gate(logits):
        omega = logits[:, k * bits:]
        e = numpy.exp(omega - omega.real.max(axis=1, keepdims=True))
        alpha = e / e.sum(axis=1, keepdims=True)
        r = [s(logits) for s in selectors]
        g = sum(alpha[:, i:i + 1] * r[i] for i in range(k))
        term = ENTROPY * sum((-x * numpy.log(x + 1e-6)).sum() for x in r)
        if experts != 2**bits:
            term = term + REACHABLE * sum((1.0 / (1e-6 + x.sum(axis=1))).sum() for x in r)
        return g, term / len(logits)

    return k * bits + k, gate


def mixture(gate, columns, experts, theta, x, target):
    """Outputs, loss and term for the parameters in the order in which Espalier declares them."""
    take = iter_parts(theta)
    kernel, bias = take(IN, columns), take(1, columns)
    outputs = []
    for _ in range(experts):
        w, b = take(IN, OUT), take(1, OUT)
        outputs.append(x @ w + b)
    g, term = gate(x @ kernel + bias)
    y = sum(g[:, e:e + 1] * outputs[e] for e in range(experts))
    return y, ((y - target)**2).sum() / (ROWS * OUT), term


def iter_parts(theta):
    at = 0

    def take(rows, columns):
        nonlocal at
        part = theta[at:at + rows * columns].reshape(rows, columns)
        at += rows * columns
        return part

    return take


def compare(tool, name, experts, columns, gate, dispatch, generator):
    count = IN * columns + columns + experts * (IN * OUT + OUT)
    # Large enough that some splits and bits are saturated on some rows, and exact zeros occur.
    theta = generator.uniform(-0.35, 0.35, count)
    x = generator.uniform(-1.0, 1.0, (ROWS, IN))
    target = generator.uniform(-1.0, 1.0, (ROWS, OUT)).astype(numpy.float32).astype(numpy.float64)
    text = "\n".join(repr(float(v)) for v in itertools.chain([], x.ravel(), target.ravel(), theta))
    done = subprocess.run([tool, name, dispatch], input=f"{ROWS}\n{text}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, (name, done.returncode, done.stderr)
    values, gradient = {}, []
    for line in done.stdout.splitlines():
        kind, label, *numbers = line.split()
        numbers = [float(v) for v in numbers]
        if kind == "gradient":
            gradient += numbers
        else:
            values[kind] = numpy.array(numbers)
    y, loss, term = mixture(gate, columns, experts, theta, x, target)
    zeros = float((gate(x @ theta[:IN * columns].reshape(IN, columns) + theta[IN * columns:][:columns])[0] == 0).mean())
    expected = numpy.empty(count)
    step = 1e-40
    for i in range(count):
        moved = theta.astype(complex)
        moved[i] += 1j * step
        _, loss_moved, term_moved = mixture(gate, columns, experts, moved, x, target)
        expected[i] = (loss_moved + term_moved).imag / step
    worst = 0.0
    for ours, theirs in ((values["loss"], loss), (values["term"], term), (values["output"], y.ravel()),
                         (numpy.array(gradient), expected)):
        difference = numpy.abs(ours - theirs).max() / (numpy.abs(theirs).max() + 1e-12)
        worst = max(worst, float(difference))
    print(f"{name:12} {dispatch:10} {count:4} gradients, {100 * zeros:3.0f} % of the weights 0: worst {worst:.1e}")
    assert worst < 1e-9, name
    return zeros


def main():
    tool = sys.argv[1]
    generator = numpy.random.default_rng(3)
    zeros = 0.0
    for name, experts, made in (("comet_2_1", 2, comet(2, 1)), ("comet_3_2", 3, comet(3, 2)), ("comet_5_3", 5, comet(5, 3)),
                                ("comet_8_2", 8, comet(8, 2)), ("dselect_2_1", 2, dselect(2, 1)),
                                ("dselect_5_2", 5, dselect(5, 2)), ("dselect_8_3", 8, dselect(8, 3))):
        for dispatch in ("dense", "compacted"):
            zeros += compare(tool, name, experts, *made, dispatch, generator)
    assert zeros > 0.0, "no weight was exactly zero: nothing was learnt about sparse rows"


if __name__ == "__main__":
    main()
