#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with optax 0.2.8 and jax 0.10.2 (PyPI), on a CPU.
#
# Expected of the two guards of optax, clip_by_global_norm and apply_if_finite, where all gradients are finite: the first leaves
# gradients of the norm that was asked for; under the second no number that is not finite gets into weights or moments, and
# training goes on.
#
# Behaviour:
#   - clip_by_global_norm(1.0) makes all gradients 0 when the sum of their squares overflows in the gradients' own type: in
#     float16 four gradients of 300 do it, in float32 and bfloat16 one of 1e20. The step does nothing, and nobody is told
#   - apply_if_finite looks at the gradients that come in, not at what the optimizer makes of them. After one gradient of 1e20
#     in float32 the second moment of Adam is infinite and its weight never moves again: all updates are finite, 0. An update
#     that overflows goes into the weights as -inf
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check optax==0.2.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PROGRAM'
import math
import sys

import jax.numpy as jnp
import numpy as np
import optax

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def clipped(gradients, kind):
    g = jnp.array(gradients, kind)
    transform = optax.clip_by_global_norm(1.0)
    assert bool(jnp.all(jnp.isfinite(g)))
    return np.asarray(transform.update(g, transform.init(g), g)[0], np.float32).tolist()


def weights(optimizer, gradients):
    w = jnp.zeros(1, jnp.float32)
    state, places = optimizer.init(w), []
    for g in gradients:
        update, state = optimizer.update(jnp.array([g], jnp.float32), state, w)
        w = optax.apply_updates(w, update)
        places.append(float(w[0]))
    return places, state


for gradients, kind in (([300.0] * 4, jnp.float16), ([1e20, 1.0], jnp.float32), ([1e20, 1.0], jnp.bfloat16)):
    found = clipped(gradients, kind)
    seen(f"clip_by_global_norm(1.0) of {gradients} in {np.dtype(kind)}: {found}", not any(found))
found = clipped([300.0] * 4, jnp.float32)
seen(f"the first in float32: {found}", found == [0.5] * 4)

places, state = weights(optax.apply_if_finite(optax.adam(0.1), 5), [1e20] + [1.0] * 500)
moment = float(state.inner_state[0].nu[0])
seen(f"apply_if_finite(adam(0.1)), gradients 1e20, then 500 times 1: weight {places[-1]}, second moment {moment}, steps that "
     f"counted as not finite {int(state.total_notfinite)}",
     places[-1] == 0.0 and moment == math.inf and int(state.total_notfinite) == 0)
places, state = weights(optax.apply_if_finite(optax.adam(0.1), 5), [math.inf] + [1.0] * 500)
seen(f"the same after a gradient of inf, which it sees: weight {places[-1]:.1f}", places[-1] < -40.0)
places, _ = weights(optax.apply_if_finite(optax.sgd(3e38), 5), [10.0, 1.0])
seen(f"apply_if_finite(sgd(3e38)), gradients 10, 1: weights {places}", places == [-math.inf] * 2)

sys.exit(1 if changed else 0)
PROGRAM
