#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with torch 2.15.0, optax 0.2.8 and jax 0.10.2 (PyPI), on a CPU; 6 GB are unpacked.
#
# Expected of torch.nn.functional.cross_entropy: labels and the same labels as probabilities (one-hot rows) have one loss, as
# they have without `weight`; a row that is masked by ignore_index has no part in it; where the loss is NaN, so is the gradient.
#
# Behaviour:
#   - with `weight` the mean over labels is divided by the sum of the rows' weights, that over probabilities by the number of
#     rows. One row of each of three classes with the weights 0.5, 2, 10: 1.194 and 4.976; with label_smoothing=0.1 1.279 and
#     5.330. Weights of (2, 2, 2) change nothing with labels and double the loss with probabilities
#   - a logit of minus infinity of a class that nothing wants: finite with labels, NaN as probabilities. optax has the same
#     two in softmax_cross_entropy_with_integer_labels and softmax_cross_entropy, and right gradients behind the NaN
#   - all rows ignored: a loss of NaN whose gradient is 0; all rows of a class of weight 0: NaN in both. A guard that looks at
#     gradients stops the second and not the first
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PROGRAM'
import math
import sys

import jax
import jax.numpy as jnp
import optax
import torch
from torch.nn.functional import cross_entropy, one_hot

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


logits = torch.tensor([[2.0, 0.5, -1.0], [0.2, 0.1, 0.4], [-1.0, 3.0, 0.5]], dtype=torch.double, requires_grad=True)
labels = torch.tensor([1, 2, 0])
rows = one_hot(labels, 3).double()


def both(weight=None, smoothing=0.0):
    return [cross_entropy(logits, target, weight=weight, label_smoothing=smoothing).item() for target in (labels, rows)]


for smoothing in (0.0, 0.1):
    a, b = both(smoothing=smoothing)
    seen(f"without weights, smoothing {smoothing}: labels {a:.4f}, one-hot {b:.4f}", abs(a - b) < 1e-12)
weight = torch.tensor([0.5, 2.0, 10.0], dtype=torch.double)
for smoothing, expected in ((0.0, (1.1943, 4.9763)), (0.1, (1.2793, 5.3304))):
    a, b = both(weight, smoothing)
    seen(f"weights 0.5, 2, 10, smoothing {smoothing}: labels {a:.4f}, one-hot {b:.4f}",
         abs(a - expected[0]) < 1e-4 and abs(b - expected[1]) < 1e-4)
a, b = both(torch.full((3,), 2.0, dtype=torch.double))
seen(f"weights 2, 2, 2: labels {a:.4f}, one-hot {b:.4f}", abs(2 * a - b) < 1e-12)

masked, wanted = torch.tensor([[1.0, -math.inf, 1.0]]), torch.tensor([2])
a, b = cross_entropy(masked, wanted).item(), cross_entropy(masked, one_hot(wanted, 3).float()).item()
seen(f"a logit of -inf of another class: labels {a:.4f}, one-hot {b}", abs(a - math.log(2)) < 1e-6 and math.isnan(b))
z = jnp.asarray(masked.numpy())
a = float(optax.softmax_cross_entropy_with_integer_labels(z, jnp.array([2]))[0])
value, gradient = jax.value_and_grad(lambda x: optax.softmax_cross_entropy(x, jax.nn.one_hot(jnp.array([2]), 3)).sum())(z)
seen(f"the same with optax: labels {a:.4f}, one-hot {float(value)}, its gradient {gradient.tolist()[0]}",
     abs(a - math.log(2)) < 1e-6 and math.isnan(value) and gradient.tolist()[0] == [0.5, 0.0, -0.5])

for what, arguments, gradient_is_nan in (("all ignored", {"target": torch.full((3,), -100)}, False),
                                         ("all of weight 0", {"target": labels, "weight": weight * 0}, True)):
    logits.grad = None
    loss = cross_entropy(logits, **arguments)
    loss.backward()
    some = logits.grad[0].tolist()
    seen(f"{what}: loss {loss.item()}, gradient of a row {some}",
         math.isnan(loss.item()) and all(math.isnan(g) if gradient_is_nan else g == 0.0 for g in some))

sys.exit(1 if changed else 0)
PROGRAM
