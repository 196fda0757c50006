# SPDX-License-Identifier: Apache-2.0
"""JAX on one CPU core: every case is one jitted program with donated buffers."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})  # one core, so that no pool of threads helps

import jax
import jax.numpy as jnp
import numpy as np

import server

rng = np.random.default_rng(1)


def normal(*shape, scale=1.0):
    return jnp.asarray(rng.standard_normal(shape).astype(np.float32) * np.float32(scale))


class Stateful:
    """Calls a jitted function on a state that it returns; waits for the result."""

    def __init__(self, function, state, *fixed, donate=True):
        self.function = jax.jit(function, donate_argnums=(0,) if donate else ())
        self.state, self.fixed = state, fixed

    def __call__(self):
        self.state = self.function(self.state, *self.fixed)
        jax.block_until_ready(self.state)


def pure(function, *arguments):
    compiled = jax.jit(function)

    def call():
        jax.block_until_ready(compiled(*arguments))

    return call


# ---- products


def product(m, k, n):
    return lambda: pure(lambda x, w, b: x @ w + b, normal(m, k), normal(k, n), normal(n))


# ---- dropout chain: relu, dropout 0.2


def dropout(rows, columns):
    def step(state, x):
        key, _ = state
        key, use = jax.random.split(key)
        keep = jax.random.bits(use, x.shape, dtype=jnp.uint16) >= np.uint16(13107)
        return key, jnp.where(keep, jnp.maximum(x, 0) * np.float32(1.25), np.float32(0))

    def make(implementation):
        x = normal(rows, columns)
        return lambda: Stateful(step, (jax.random.key(1, impl=implementation), x + 0), x)

    return {"rbg": make("rbg"), "threefry": make("threefry2x32"), "unsafe_rbg": make("unsafe_rbg")}


# ---- gate: weights and experts of 4096 rows


def top_k(experts, k):
    def sorting(z):
        value, expert = jax.lax.top_k(z, k)
        return jax.nn.softmax(value, axis=-1), expert

    def passes(z):  # k times the largest of what is left
        columns = jnp.arange(experts, dtype=jnp.int32)
        values, chosen = [], []
        for _ in range(k):
            chosen.append(jnp.argmax(z, axis=-1).astype(jnp.int32))
            values.append(jnp.max(z, axis=-1))
            z = jnp.where(columns == chosen[-1][:, None], -jnp.inf, z)
        return jax.nn.softmax(jnp.stack(values, -1), axis=-1), jnp.stack(chosen, -1)

    z = normal(4096, experts)
    return {"lax.top_k": lambda: pure(sorting, z), "argmax passes": lambda: pure(passes, z)}


def softmax(experts):
    return {"jit": lambda: pure(lambda z: jax.nn.softmax(z, axis=-1), normal(4096, experts))}


# ---- update


def adamw(n, l1=0.0, anchor=0.0, mask=False):
    def step(state, g, a, keep):
        w, m, v, c1, c2 = state
        if mask:
            g = jnp.where(keep, g, 0)
        if l1:
            g = g + l1 * jnp.sign(w)
        if anchor:
            g = g + anchor * (w - a)
        m = m + 0.1 * (g - m)
        v = 0.999 * v + 0.001 * g * g
        w = w - 1e-6 * w - 1e-4 * c1 * m / (jnp.sqrt(v) * c2 + 1e-8)
        if mask:
            w = jnp.where(keep, w, 0)
        return w, m, v, c1, c2

    def make():
        state = (normal(n), jnp.zeros(n), jnp.zeros(n), jnp.float32(10), jnp.float32(31.6))
        return Stateful(step, state, normal(n, scale=0.1), normal(n), jnp.asarray(rng.random(n) < 0.5))

    return {"jit": make}


# ---- training step: dropout 0.2, Adam


def training(inputs, hidden, batch):
    def loss(p, x, y, key):
        h = jnp.maximum(x @ p[0] + p[1], 0)
        keep = jax.random.bits(key, h.shape, dtype=jnp.uint16) >= np.uint16(13107)
        h = jnp.where(keep, h * np.float32(1.25), np.float32(0))
        z = h @ p[2] + p[3]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))

    def step(state, x, y):
        p, m, v, t, key, _ = state
        key, use = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(p, x, y, use)
        t = t + 1
        c1, c2 = 1 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        m = [a + 0.1 * (b - a) for a, b in zip(m, g)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
        p = [w - 1e-3 * c1 * a / (jnp.sqrt(b) * c2 + 1e-8) for w, a, b in zip(p, m, v)]
        return p, m, v, t, key, value

    def make(implementation):
        def build():
            shapes = [(inputs, hidden), (hidden,), (hidden, 10), (10,)]
            p = [normal(*s, scale=(2 / s[0]) ** 0.5 if len(s) > 1 else 0.0) for s in shapes]
            state = (p, [jnp.zeros(s) for s in shapes], [jnp.zeros(s) for s in shapes], jnp.float32(0),
                     jax.random.key(1, impl=implementation), jnp.float32(0))
            return Stateful(step, state, normal(batch, inputs), jnp.asarray(rng.integers(0, 10, batch)))

        return build

    return {"rbg": make("rbg"), "threefry": make("threefry2x32"), "unsafe_rbg": make("unsafe_rbg")}


cases = {
    "product/128x784x256": {"jit": product(128, 784, 256)},
    "product/128x256x10": {"jit": product(128, 256, 10)},
    "product/64x64x64": {"jit": product(64, 64, 64)},
    "product/512x512x512": {"jit": product(512, 512, 512)},
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
    "update/adamw+l1+anchor+mask_4M": adamw(4 << 20, 1e-4, 1e-3, True),
    "step/784-256-10_b128": training(784, 256, 128),
    "step/64-64-10_b64": training(64, 64, 64),
}

if __name__ == "__main__":
    server.serve("jax", jax.__version__, cases)
