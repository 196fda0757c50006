#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with optax 0.2.8 and jax 0.10.2 (PyPI), on a CPU.
#
# Expected of a label that is no class, such as the -1 or -100 that other libraries take for "no label", in
# softmax_cross_entropy_with_integer_labels: an error, no part in the loss, or the same as with one_hot labels; and where
# the loss is NaN, gradients that are NaN.
#
# Behaviour: labels of -1 down to minus the number of classes count from the end, as an index of Python does: -1 trains the
# last class. Any other label gives a loss of NaN and yet finite gradients, those of a row without a target: softmax(z), with
# which a step pushes all logits of the row down; a guard that looks at gradients sees nothing. one_hot makes a row of zeros
# of either label, whose loss and gradient are 0.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PROGRAM'
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


logits = jnp.array([[2.0, 0.0, -1.0]])


def loss_and_gradient(label):
    def total(z):
        return optax.softmax_cross_entropy_with_integer_labels(z, jnp.array([label])).sum()

    value, gradient = jax.value_and_grad(total)(logits)
    return float(value), np.asarray(gradient[0])


last, last_gradient = loss_and_gradient(2)
value, gradient = loss_and_gradient(-1)
seen(f"label -1: loss {value:.4f}, gradient {gradient}; label 2: loss {last:.4f}",
     value == last and (gradient == last_gradient).all())
softmax = np.asarray(jax.nn.softmax(logits[0]))
for label in (-100, 3):
    value, gradient = loss_and_gradient(label)
    seen(f"label {label}: loss {value}, gradient {gradient}, softmax {softmax}",
         np.isnan(value) and np.allclose(gradient, softmax, atol=1e-6))
for label in (-1, -100):
    value, gradient = jax.value_and_grad(
        lambda z: optax.softmax_cross_entropy(z, jax.nn.one_hot(jnp.array([label]), 3)).sum())(logits)
    seen(f"one_hot of {label}: loss {float(value)}, gradient {np.asarray(gradient[0])}",
         float(value) == 0.0 and not np.asarray(gradient).any())

sys.exit(1 if changed else 0)
PROGRAM
