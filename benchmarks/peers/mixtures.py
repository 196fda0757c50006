# SPDX-License-Identifier: Apache-2.0
"""Layers of experts for all peers: what each case is, and its numbers, so that peers can be compared with each other.

    python mixtures.py      compares outputs and gradients of all forms of all peers of the cases that have several
"""

import numpy as np


class Layer:
    """experts: dense Width -> Width with relu; gate: comet (k trees), dselect_k or top_k. `sparse`: every split is
    saturated, so that at most k experts are active for a row; each split reads one feature that is never near 0."""

    def __init__(self, gate, experts, k, width, sparse=False, rows=512):
        self.gate, self.experts, self.k, self.width, self.sparse, self.rows = gate, experts, k, width, sparse, rows

    def numbers(self):
        """Float32 arrays: x, dy, experts' w [e, in, out] and b [e, out], and the gate's: zw, zb (logits that become
        splits; columns [tree or selector][split or bit]) and aw, ab (the other logits; [tree][leaf] in comet)."""
        rng = np.random.default_rng(7)
        n, k, d = self.experts, self.k, self.width
        splits = {"comet": k * (n - 1), "dselect_k": k * (n.bit_length() - 1), "top_k": 0}[self.gate]
        others = {"comet": k * n, "dselect_k": k, "top_k": n}[self.gate]
        x = rng.standard_normal((self.rows, d))
        x = x + np.where(x < 0, -0.25, 0.25)
        if self.sparse:
            zw = np.zeros((d, splits))
            zw[np.arange(splits) % d, np.arange(splits)] = 5.0
        else:
            zw = 0.006 * rng.standard_normal((d, splits))
        scale = 0.03 if splits else d**-0.5
        made = {"x": x, "dy": rng.standard_normal((self.rows, d)),
                "w": (2 / d) ** 0.5 * rng.standard_normal((n, d, d)), "b": 0.1 * rng.standard_normal((n, d)),
                "zw": zw, "zb": 0.03 * rng.standard_normal(splits),
                "aw": scale * rng.standard_normal((d, others)), "ab": 0.03 * rng.standard_normal(others)}
        return {key: value.astype(np.float32) for key, value in made.items()}


layers = {}
for phase in ("open", "sparse"):
    layers[f"comet/comet_16_2_64-64_b512_{phase}"] = Layer("comet", 16, 2, 64, phase == "sparse")
    layers[f"comet/comet_64_4_128-128_b512_{phase}"] = Layer("comet", 64, 4, 128, phase == "sparse")
    layers[f"comet/dselect_k_16_2_64-64_b512_{phase}"] = Layer("dselect_k", 16, 2, 64, phase == "sparse")
for experts, width in ((8, 64), (16, 64), (64, 64), (16, 256)):
    layers[f"moe/top_k_{experts}_2_{width}-{width}_b512"] = Layer("top_k", experts, 2, width)


def compare():
    import jax_peer
    import published_peer
    import torch_peer

    for case in layers:
        results, worst = {}, {}
        for peer in (jax_peer, torch_peer, published_peer):
            for form, make in peer.cases.get(case, {}).items():
                call = make()
                results[peer.__name__ + " " + form] = {key: np.asarray(value) for key, value in call.result().items()}
        first = next(iter(results))
        for name, result in results.items():
            for key in ("y", "x", "w", "b", "zw", "zb", "aw", "ab"):
                if key not in result or not result[key].size:
                    continue
                a, b = result[key], results[first][key]
                error = np.abs(a - b).max() / (np.abs(b).max() + 1e-12)
                worst[name] = max(worst.get(name, 0.0), error)
                if error > 1e-3 and np.abs(b).max() > 1e-5:
                    print(f"{case}, {name}: {key} is {error:.1e} from that of {first}")
        print(case, *(f"{name}: {value:.1e}" for name, value in worst.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    compare()
