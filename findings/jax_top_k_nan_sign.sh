#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with jax 0.10.2 (PyPI), on a CPU (x86-64).
#
# Expected of jax.lax.top_k: a NaN stands in one place, whatever its bits, above all numbers as in numpy.sort and torch.topk or
# below them; and, as its page says, of two equal elements the one of lower index comes first.
#
# Behaviour: it ranks by the order of the bits. A NaN without a sign (numpy.nan) is above all numbers, one with it below
# minus infinity, and on x86-64 arithmetic makes those with it: inf - inf, 0 / 0. So a test that plants numpy.nan sees a NaN
# win, and one that comes about loses to every number. -0.0 and 0.0 are equal and ranked as if they were not. argsort, argmax
# and sort of the same array take both kinds of NaN for one and both zeros for equal.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PROGRAM'
import platform
import sys

import jax
import jax.numpy as jnp
import numpy as np

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def winners(values, k=2):
    return jax.lax.top_k(jnp.asarray(np.array(values, np.float32)), k)[1].tolist()


infinity = float("inf")
plain, signed = np.array([0x7FC00000, 0xFFC00000], np.uint32).view(np.float32)
if platform.machine() == "x86_64":
    made = [np.asarray(jax.jit(f)(jnp.float32(x))).view(np.uint32)[()]
            for f, x in ((lambda a: a - a, infinity), (lambda a: a / a, 0.0))]
    seen(f"inf - inf and 0 / 0 have the bits {made[0]:#x} and {made[1]:#x}", made == [0xFFC00000] * 2)
first, last = winners([1, 2, plain], 3), winners([-infinity, 2, signed], 3)
seen(f"1, 2, nan: {first}; -inf, 2, -nan: {last}", first == [2, 1, 0] and last == [1, 0, 2])
both = jnp.asarray(np.array([1, signed, 2, plain], np.float32))
order = jnp.argsort(both).tolist()
seen(f"1, -nan, 2, nan: top_k {jax.lax.top_k(both, 4)[1].tolist()}, argsort {order}, argmax {int(jnp.argmax(both))}",
     jax.lax.top_k(both, 4)[1].tolist() == [3, 2, 0, 1] and order == [0, 2, 1, 3] and int(jnp.argmax(both)) == 1)
zeros = [-0.0, 0.0, -0.0, 0.0]
seen(f"-0, 0, -0, 0: top_k {winners(zeros, 4)}, argsort {jnp.argsort(jnp.array(zeros), stable=True).tolist()}",
     winners(zeros, 4) == [1, 3, 0, 2] and jnp.argsort(jnp.array(zeros), stable=True).tolist() == [0, 1, 2, 3])

sys.exit(1 if changed else 0)
PROGRAM
