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

import mixtures
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


# ---- layers of experts: all experts in one product, weighted by the gate; forward and all gradients


def smooth_step(t):
    u = jnp.clip(t, -0.5, 0.5)
    return u * (1.5 - 2 * u * u) + 0.5


def comet_weights(p, x, n, k):
    rows = x.shape[0]
    logits = x @ jnp.concatenate([p["zw"], p["aw"]], 1) + jnp.concatenate([p["zb"], p["ab"]])
    s = smooth_step(logits[:, : k * (n - 1)]).reshape(rows, k, n - 1)
    a = logits[:, k * (n - 1) :].reshape(rows, k, n)
    reach = jnp.ones((rows, k, 1), x.dtype)  # level by level; the numbers of experts here are powers of two
    while reach.shape[-1] < n:
        width = reach.shape[-1]
        here = s[:, :, width - 1 : 2 * width - 1]
        reach = jnp.stack([reach * here, reach * (1 - here)], -1).reshape(rows, k, 2 * width)
    u = jnp.where(reach > 0, a + jnp.log(reach + 1e-8), -jnp.inf)
    g = jax.nn.softmax(u.reshape(rows, k * n), -1).reshape(rows, k, n).sum(1)
    return g, 0.1 * jnp.mean(jnp.sum(-reach * jnp.log(reach + 1e-6), (1, 2)))


def dselect_weights(p, x, n, k):
    rows, bits = x.shape[0], n.bit_length() - 1
    logits = x @ jnp.concatenate([p["zw"], p["aw"]], 1) + jnp.concatenate([p["zb"], p["ab"]])
    s = smooth_step(logits[:, : k * bits]).reshape(rows, k, bits)
    r = jnp.ones((rows, k, 1), x.dtype)
    for m in range(bits):
        r = jnp.stack([r * (1 - s[:, :, m : m + 1]), r * s[:, :, m : m + 1]], -1).reshape(rows, k, -1)
    alpha = jax.nn.softmax(logits[:, k * bits :], -1)
    return jnp.einsum("bk,bkn->bn", alpha, r), 0.1 * jnp.mean(jnp.sum(-r * jnp.log(r + 1e-6), (1, 2)))


def top_k_winners(p, x, n, k):
    """k times the largest of what is left: faster here than lax.top_k."""
    z = x @ p["aw"] + p["ab"]
    columns, left, values, chosen = jnp.arange(n, dtype=jnp.int32), jax.lax.stop_gradient(z), [], []
    for _ in range(k):
        chosen.append(jnp.argmax(left, axis=-1).astype(jnp.int32))
        values.append(jnp.take_along_axis(z, chosen[-1][:, None], 1)[:, 0])
        left = jnp.where(columns == chosen[-1][:, None], -jnp.inf, left)
    return jax.nn.softmax(jnp.stack(values, -1), axis=-1), jnp.stack(chosen, -1)


def top_k_weights(p, x, n, k):
    g, chosen = top_k_winners(p, x, n, k)
    return jnp.einsum("bk,bkn->bn", g, jax.nn.one_hot(chosen, n, dtype=x.dtype)), jnp.float32(0)


gates = {"comet": comet_weights, "dselect_k": dselect_weights, "top_k": top_k_weights}


def experts_batched(p, x, g):
    h = jnp.maximum(jnp.einsum("bi,eio->ebo", x, p["w"]) + p["b"][:, None], 0)
    return jnp.einsum("ebo,be->bo", h, g)


def experts_wide(p, x, g):
    n, d, out = p["w"].shape
    h = jnp.maximum(x @ p["w"].transpose(1, 0, 2).reshape(d, n * out) + p["b"].reshape(-1), 0)
    return jnp.einsum("beo,be->bo", h.reshape(-1, n, out), g)


def experts_wide_stored(p, x, g):  # the weights lie side by side in memory: no transposition
    n, out = p["b"].shape
    h = jnp.maximum(x @ p["wide"] + p["b"].reshape(-1), 0)
    return jnp.einsum("beo,be->bo", h.reshape(-1, n, out), g)


class LayerPass:
    def __init__(self, layer, forward, wide=False):
        numbers = {key: jnp.asarray(value) for key, value in layer.numbers().items()}
        self.x, self.dy = numbers.pop("x"), numbers.pop("dy")
        self.shape = numbers["w"].shape
        if wide:
            numbers["wide"] = numbers.pop("w").transpose(1, 0, 2).reshape(self.shape[1], -1)
        self.p = numbers

        def objective(p, x, dy):
            y, term = forward(p, x)
            return jnp.sum(y * dy) + term, y

        self.compiled = jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True))

    def __call__(self):
        jax.block_until_ready(self.compiled(self.p, self.x, self.dy))

    def result(self):
        (p, x), y = self.compiled(self.p, self.x, self.dy)
        p = dict(p)
        if "wide" in p:
            n, d, out = self.shape
            p["w"] = p.pop("wide").reshape(d, n, out).transpose(1, 0, 2)
        return {"x": x, "y": y, **p}


def layer_of_experts(layer):
    n, k = layer.experts, layer.k

    def form(experts, wide=False):
        def forward(p, x):
            g, term = gates[layer.gate](p, x, n, k)
            return experts(p, x, g), term

        return lambda: LayerPass(layer, forward, wide)

    def ragged(p, x):  # rows sorted by expert, a grouped product
        g, chosen = top_k_winners(p, x, n, k)
        flat = chosen.reshape(-1)
        order = jnp.argsort(flat, stable=True)
        row, expert = order // k, flat[order]
        h = jax.lax.ragged_dot(x[row], p["w"], jnp.bincount(flat, length=n).astype(jnp.int32))
        h = jnp.maximum(h + p["b"][expert], 0) * g.reshape(-1)[order][:, None]
        return jnp.zeros_like(x).at[row].add(h), jnp.float32(0)

    forms = {"batched einsum": form(experts_batched), "wide": form(experts_wide),
             "wide stored": form(experts_wide_stored, True)}
    if layer.gate == "top_k":
        forms["ragged_dot"] = lambda: LayerPass(layer, ragged)
    return forms


# ---- dispatch: rows to the experts' blocks, and their weighted sums back


def dispatch(rows, width, experts):
    def there_and_back(x, w, e):
        flat = e.reshape(-1)
        order = jnp.argsort(flat, stable=True)
        row = order // 2
        gathered = x[row]
        y = jnp.zeros_like(x).at[row].add(gathered * w.reshape(-1)[order][:, None])
        return gathered, jnp.bincount(flat, length=experts), y

    def slots(x, w, e):  # combined by gathering: the place of every slot is the inverse permutation
        flat = e.reshape(-1)
        order = jnp.argsort(flat, stable=True)
        place = jnp.zeros_like(order).at[order].set(jnp.arange(order.size, dtype=order.dtype), unique_indices=True)
        gathered = x[order // 2]
        back = gathered[place].reshape(-1, 2, x.shape[1])
        return gathered, jnp.bincount(flat, length=experts), jnp.einsum("bkd,bk->bd", back, w)

    def make(function):
        def build():
            chosen = np.argsort(rng.random((rows, experts)), 1)[:, :2].astype(np.int32)
            w = rng.random((rows, 1)).astype(np.float32)
            return pure(function, normal(rows, width), jnp.asarray(np.hstack([w, 1 - w])), jnp.asarray(chosen))

        return build

    return {"scatter add": make(there_and_back), "gather": make(slots)}


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
    "dispatch/top2_16_512x64": dispatch(512, 64, 16),
    "dispatch/top2_16_512x256": dispatch(512, 256, 16),
    "dispatch/top2_64_4096x256": dispatch(4096, 256, 64),
} | {case: layer_of_experts(layer) for case, layer in mixtures.layers.items()}

if __name__ == "__main__":
    server.serve("jax", jax.__version__, cases)
