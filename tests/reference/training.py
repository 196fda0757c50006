#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""50 training steps of whole stacks, written out in NumPy, against Espalier.

usage: training.py TOOL     (TOOL: the program built from training_tool.cpp)

Forward, backward, optimizer, schedule, clipping and the terms of gates are written here by hand, in float64. Batches go
to the tool, first and last weights come back from it, all as safetensors files. Exit status 77 (skipped) without the
packages numpy and safetensors.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    import safetensors.numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

STEPS, IN, OUT = 50, 6, 3
# Both sides round to 1.1e-16 in every operation, in other orders, and 50 steps carry the differences on: 3e-16 to 2e-15
# of the largest weight were measured, with SSE, AVX2 and AVX-512. The limit leaves room for other orders of sums and other
# functions of the system. A number of a formula that is off by 1e-9 shows 50 times above it or more; `compare` asks for 20.
TOLERANCE = 1e-12
SHIFT = 1e-9


class adamw:
    """Loshchilov and Hutter 2019, algorithm 2, the decay scaled by the learning rate."""

    def __init__(self, rate, beta2, decay):
        self.rate, self.beta1, self.beta2, self.decay = rate, 0.9, beta2, decay
        self.first, self.second = {}, {}

    def update(self, step, weights, gradients):
        rate = self.rate(step)
        for name, g in gradients.items():
            m = self.beta1 * self.first.get(name, 0.0) + (1.0 - self.beta1) * g
            v = self.beta2 * self.second.get(name, 0.0) + (1.0 - self.beta2) * g**2
            self.first[name], self.second[name] = m, v
            m_hat = m / (1.0 - self.beta1**(step + 1))
            v_hat = v / (1.0 - self.beta2**(step + 1))
            weights[name] = weights[name] - rate * (m_hat / (numpy.sqrt(v_hat) + 1e-8) + self.decay * weights[name])


class nesterov:
    """Sutskever et al. 2013 in the form with b <- mu b + g, w <- w - rate (g + mu b)."""

    def __init__(self, rate, momentum, decay):
        self.rate, self.momentum, self.decay = rate, momentum, decay
        self.velocity = {}

    def update(self, step, weights, gradients):
        for name, g in gradients.items():
            g = g + self.decay * weights[name]
            b = self.momentum * self.velocity.get(name, 0.0) + g
            self.velocity[name] = b
            weights[name] = weights[name] - self.rate(step) * (g + self.momentum * b)


def cosine(start, end, steps):
    return lambda step: end + (start - end) * (1.0 + numpy.cos(numpy.pi * min(step / steps, 1.0))) / 2.0


def softmax(z):
    e = numpy.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(p, dp):
    return p * (dp - (p * dp).sum(axis=1, keepdims=True))


def dense(w, path, x):
    return x @ w[path + ".kernel"] + w[path + ".bias"]


def dense_backward(w, gradients, path, x, dz):
    gradients[path + ".kernel"] = x.T @ dz
    gradients[path + ".bias"] = dz.sum(axis=0)
    return dz @ w[path + ".kernel"].T


def mean_squared_error(z, targets):
    difference = z - targets
    return (difference**2).mean(), 2.0 * difference / difference.size


class perceptron:
    """dense tanh, dense relu, dense; rows without a label do not count; the gradients of all layers clipped together."""

    def __init__(self, bound, **numbers):
        self.bound = bound
        self.optimizer = adamw(cosine(2e-2, 1e-3, 40), **numbers)
        self.clipped = 0

    def step(self, w, step, x, batch):
        counted = batch["labels"] >= 0
        x, labels = x[counted], batch["labels"][counted]
        a = numpy.tanh(dense(w, "1", x))
        u = dense(w, "2", a)
        b = numpy.maximum(u, 0.0)
        p = softmax(dense(w, "3", b))
        rows = numpy.arange(len(labels))
        loss = -numpy.log(p[rows, labels]).mean()
        dz = p.copy()
        dz[rows, labels] -= 1.0
        g = {}
        db = dense_backward(w, g, "3", b, dz / len(labels))
        da = dense_backward(w, g, "2", a, db * (u > 0.0))
        dense_backward(w, g, "1", x, da * (1.0 - a**2))
        norm = numpy.sqrt(sum((v**2).sum() for v in g.values()))
        ratio = self.bound / (norm + 1e-6)
        if ratio < 1.0:
            self.clipped += 1
            g = {name: v * ratio for name, v in g.items()}
        self.optimizer.update(step, w, g)
        return [loss]


class mixture:
    """x plus what the two experts that its gate weighs most give, and a head. Here every expert runs on every row, and the
    weights of the others are 0."""
    EXPERTS, K = 4, 2

    def __init__(self, balance=0.0, importance=0.0, z_loss=0.0, **numbers):
        self.balance, self.importance, self.z_loss = balance, importance, z_loss
        self.optimizer = adamw(lambda step: 1e-2, **numbers)
        self.chosen = numpy.zeros(self.EXPERTS)

    def step(self, w, step, x, batch):
        count = len(x)
        z = dense(w, "1.0.gate", x)
        winners = numpy.zeros(z.shape, dtype=bool)
        numpy.put_along_axis(winners, numpy.argsort(-z, axis=1, kind="stable")[:, :self.K], True, axis=1)
        self.chosen += winners.sum(axis=0)
        weight = softmax(numpy.where(winners, z, -numpy.inf))
        hidden = [numpy.tanh(dense(w, f"1.0.expert.{e}.0", x)) for e in range(self.EXPERTS)]
        given = [dense(w, f"1.0.expert.{e}.1", hidden[e]) for e in range(self.EXPERTS)]
        y = x + sum(weight[:, [e]] * given[e] for e in range(self.EXPERTS))
        loss, dout = mean_squared_error(dense(w, "2", y), batch["targets"])
        g = {}
        dy = dense_backward(w, g, "2", y, dout)

        dweight = numpy.stack([(dy * given[e]).sum(axis=1) for e in range(self.EXPERTS)], axis=1)
        p = softmax(z)
        # Fedus et al. 2022, equations 4 to 6: the shares of the slots are constants of the derivative.
        share = winners.mean(axis=0) / self.K
        term = self.balance * self.EXPERTS * (share * p.mean(axis=0)).sum()
        dp = numpy.broadcast_to(self.balance * self.EXPERTS * share / count, p.shape)
        # Shazeer et al. 2017, section 4: c V / (m^2 + 1e-10) of the summed weights.
        total = weight.sum(axis=0)
        m, variance = total.mean(), total.var()
        below = m**2 + 1e-10
        term += self.importance * variance / below
        dm = -2.0 * m * variance / below**2
        dweight = dweight + self.importance * (2.0 * (total - m) / below + dm) / self.EXPERTS
        # Zoph et al. 2022, equation 5.
        logs = numpy.log(numpy.exp(z).sum(axis=1, keepdims=True))
        term += self.z_loss * (logs**2).mean()
        dz = softmax_backward(weight, dweight) + softmax_backward(p, dp) + 2.0 * self.z_loss * logs * p / count
        dense_backward(w, g, "1.0.gate", x, dz)
        for e in range(self.EXPERTS):
            dhidden = dense_backward(w, g, f"1.0.expert.{e}.1", hidden[e], weight[:, [e]] * dy)
            dense_backward(w, g, f"1.0.expert.{e}.0", x, dhidden * (1.0 - hidden[e]**2))
        self.optimizer.update(step, w, g)
        return [loss, term]


class normalised:
    """dense, batch normalisation, dense; the running variance is the unbiased one. A batch smaller than the largest so far
    has a smaller share of the running statistics."""

    def __init__(self, share, **numbers):
        self.share, self.largest = share, 0
        self.optimizer = nesterov(lambda step: 0.05, **numbers)

    def step(self, w, step, x, batch):
        u = dense(w, "1", x)
        mean, variance = u.mean(axis=0), u.var(axis=0)
        sigma = numpy.sqrt(variance + 1e-5)
        normal = (u - mean) / sigma
        y = w["2.scale"] * normal + w["2.shift"]
        loss, dout = mean_squared_error(dense(w, "3", y), batch["targets"])
        g = {}
        dy = dense_backward(w, g, "3", y, dout)
        g["2.scale"] = (dy * normal).sum(axis=0)
        g["2.shift"] = dy.sum(axis=0)
        # Through normal, variance and mean, one after the other.
        dnormal = dy * w["2.scale"]
        dvariance = (dnormal * (u - mean)).sum(axis=0) * -0.5 / sigma**3
        dmean = -(dnormal / sigma).sum(axis=0)
        du = dnormal / sigma + dvariance * 2.0 * (u - mean) / len(x) + dmean / len(x)
        dense_backward(w, g, "1", x, du)
        self.optimizer.update(step, w, g)
        self.largest = max(self.largest, len(x))
        share = 1.0 - (1.0 - self.share)**(len(x) / self.largest)
        for name, value in (("2.running_mean", mean), ("2.running_variance", variance * len(x) / (len(x) - 1))):
            w[name] = (1.0 - share) * w[name] + share * value
        w["2.largest_batch"] = numpy.array([float(self.largest)])
        return [loss]


def make_batches(generator, labelled):
    """Batches of two sizes, whose targets can be learnt in part."""
    count = numpy.where(numpy.arange(STEPS) % 3 == 2, 17, 24).astype(numpy.int64)
    rows = int(count.sum())
    inputs = generator.uniform(-1.5, 1.5, (rows, IN))
    scores = numpy.tanh(inputs @ generator.uniform(-1.0, 1.0, (IN, OUT))) + generator.uniform(-0.3, 0.3, (rows, OUT))
    batches = {"count": count, "inputs": inputs}
    if labelled:
        labels = scores.argmax(axis=1).astype(numpy.int32)
        labels[generator.integers(0, rows, rows // 20)] = -1
        batches["labels"] = labels
    else:
        batches["targets"] = scores.astype(numpy.float32)
    return batches


def run_tool(tool, stack, batches, folder):
    path = {name: os.path.join(folder, f"{stack}.{name}") for name in ("batches", "first", "last")}
    safetensors.numpy.save_file({name: numpy.ascontiguousarray(v) for name, v in batches.items()}, path["batches"])
    done = subprocess.run([tool, stack, *path.values()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (stack, done.returncode, done.stderr)
    terms = numpy.array([[float(v) for v in line.split()] for line in done.stdout.splitlines()])
    return terms, safetensors.numpy.load_file(path["first"]), safetensors.numpy.load_file(path["last"])


def transcribe(model, batches, first):
    w, terms, row = dict(first), [], 0
    for step, count in enumerate(batches["count"]):
        part = {name: v[row:row + count] for name, v in batches.items() if name != "count"}
        terms.append(model.step(w, step, part["inputs"], part))
        row += count
    return numpy.array(terms), w


def largest_difference(ours, theirs):
    """Of each term, of all weights and of the running statistics, relative to the largest of its kind: a small weight takes
    part in sums with large ones and has the rounding errors of these."""
    (terms, w), (other_terms, other) = ours, theirs
    assert terms.shape == other_terms.shape and terms.shape[0] == STEPS, (terms.shape, other_terms.shape)
    assert w.keys() == other.keys(), (sorted(w), sorted(other))
    worst = float((numpy.abs(terms - other_terms).max(axis=0) / numpy.abs(other_terms).max(axis=0)).max())
    state = {name for name in w if ".running_" in name}
    for names in (w.keys() - state, state):
        if not names:
            continue
        for name in names:
            assert w[name].shape == other[name].shape and w[name].dtype == numpy.float64, (name, w[name].shape)
        scale = max(float(numpy.abs(other[name]).max()) for name in names)
        worst = max(worst, max(float(numpy.abs(w[name] - other[name]).max()) for name in names) / scale)
    return worst


def compare(tool, folder, stack, make, numbers, generator):
    batches = make_batches(generator, make is perceptron)
    terms, first, last = run_tool(tool, stack, batches, folder)
    assert all(v.dtype == numpy.float64 for v in first.values()), {name: v.dtype for name, v in first.items()}
    model = make(**numbers)
    theirs = transcribe(model, batches, first)
    worst = largest_difference((terms, last), theirs)
    moved = max(float(numpy.abs(last[name] - first[name]).max()) for name in first)
    print(f"{stack:11} loss {terms[:5, 0].mean():.3f} -> {terms[-5:, 0].mean():.3f}, moved {moved:.2f}: worst {worst:.1e}")
    assert worst < TOLERANCE, (stack, worst)
    # Training did something, and so did everything that is compared.
    assert moved > 0.1 and terms[-5:, 0].mean() < terms[:5, 0].mean(), stack
    for name, value in numbers.items():
        shifted = largest_difference((terms, last), transcribe(make(**{**numbers, name: value + SHIFT}), batches, first))
        print(f"            {name} off by {SHIFT:.0e}: {shifted:.1e}")
        assert shifted > 20.0 * TOLERANCE, (stack, name, shifted)
    return model


def main():
    tool = sys.argv[1]
    generator = numpy.random.default_rng(8)
    with tempfile.TemporaryDirectory() as folder:
        model = compare(tool, folder, "perceptron", perceptron, {"bound": 0.65, "beta2": 0.99, "decay": 0.05}, generator)
        assert 5 < model.clipped < STEPS - 5, f"{model.clipped} of {STEPS} steps were clipped"
        plain = {"beta2": 0.999, "decay": 0.02}
        for stack, numbers in (("balance", {"balance": 0.05}), ("importance", {"importance": 0.2, "z_loss": 0.01})):
            model = compare(tool, folder, stack, mixture, {**numbers, **plain}, generator)
            assert model.chosen.min() > 0, f"an expert was never chosen: {model.chosen}"
        compare(tool, folder, "normalised", normalised, {"share": 0.1, "momentum": 0.9, "decay": 1e-3}, generator)


if __name__ == "__main__":
    main()
