#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with flax 0.12.8 and jax 0.10.2 (PyPI), on a CPU.
#
# Expected of BatchNorm and LayerNorm in float32 on 1000 numbers of mean 10^4 and deviation 1, such as years or prices that were
# not centred: outputs of deviation 1 within a few percent, as jax.numpy.var has it to six digits.
#
# Behaviour: by default (use_fast_variance=True) the variance is the difference of two sums of squares, which lie 10^8 apart
# from it. Whatever is left of the 24 bits goes into the output and, in BatchNorm, into the running variance: at a mean of
# 10^3 the deviation is off by a tenth or two, at 10^4 the variance may come out as 24 or as 0 for 1, and where it is 0 the
# outputs are multiplied by 1 / sqrt(epsilon): 316 and more (LayerNorm, whose epsilon is 1e-6: 1000). There is no warning;
# with use_fast_variance=False all is right.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PROGRAM'
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def batch_norm(x, fast):
    layer = nn.BatchNorm(use_running_average=False, momentum=0.0, use_fast_variance=fast)
    y, state = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
    return float(y.std()), float(state["batch_stats"]["var"][0])


def layer_norm(x, fast):
    layer = nn.LayerNorm(use_fast_variance=fast)
    row = x.reshape(1, -1)
    return float(layer.apply(layer.init(jax.random.key(0), row), row).std())


random = np.random.default_rng(0)
columns = {mean: jnp.asarray(random.normal(mean, 1.0, (1000, 1)), jnp.float32) for mean in (1e2, 1e3, 1e4, 1e5)}
for mean, x in columns.items():
    true = float(np.asarray(x, np.float64).var())
    (fast, variance), (slow, _) = batch_norm(x, True), batch_norm(x, False)
    seen(f"mean {mean:g}: variance {true:.3f}, jax.numpy.var {float(jnp.var(x)):.3f}, BatchNorm {variance:.3f}; deviation of its "
         f"outputs {fast:.3f}, of LayerNorm's {layer_norm(x, True):.3f}; with use_fast_variance=False {slow:.3f} and "
         f"{layer_norm(x, False):.3f}",
         abs(float(jnp.var(x)) / true - 1) < 1e-3 and abs(slow - 1) < 1e-3 and abs(layer_norm(x, False) - 1) < 1e-3
         and (abs(fast - 1) < 0.01 if mean == 1e2 else abs(fast - 1) > 0.05 and abs(layer_norm(x, True) - 1) > 0.05))

sys.exit(1 if changed else 0)
PROGRAM
