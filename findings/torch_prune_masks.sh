#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with torch 2.15.0 (PyPI), on a CPU; 6 GB are unpacked.
#
# Expected of torch.nn.utils.prune: a share of n weights is rounded halves up, so that half of 3, 5, 7, 9 weights are 2, 3, 4,
# 5; what a mask leaves out is 0 in the products; and a pruned module is a module like others, of which the average of
# torch.optim.swa_utils takes a copy.
#
# Behaviour: the share is rounded to the even neighbour (Python's round of the product): half of 1, 3, 5, 7, 9 weights are 0, 2,
# 2, 4, 4, so of five weights two go and of seven four. The mask is multiplied: a weight that is infinite or NaN is not hidden
# by a 0 but makes every product of its layer NaN. The effective weight is kept as the result of that product, a tensor that
# is no leaf, which copy.deepcopy refuses before any forward pass: AveragedModel of a pruned network raises RuntimeError until
# prune.remove has made the masks permanent.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PROGRAM'
import math
import sys

import torch
from torch.nn.utils import prune

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def left_out(n, share):
    layer = torch.nn.Linear(n, 1, bias=False)
    prune.l1_unstructured(layer, "weight", amount=share)
    return int((layer.weight_mask == 0).sum())


halves = {n: left_out(n, 0.5) for n in (1, 3, 5, 7, 9)}
seen(f"half of n weights, n and how many go: {halves}", halves == {1: 0, 3: 2, 5: 2, 7: 4, 9: 4})

layer = torch.nn.Linear(4, 1, bias=False)
with torch.no_grad():
    layer.weight[0, 0] = math.inf
prune.custom_from_mask(layer, "weight", torch.tensor([[0.0, 1.0, 1.0, 1.0]]))
y = layer(torch.ones(1, 4))
seen(f"a weight of infinity under a mask of 0: effective {layer.weight[0, 0].item()}, output {y.item()}",
     math.isnan(layer.weight[0, 0].item()) and math.isnan(y.item()))


def averaged(network):
    try:
        torch.optim.swa_utils.AveragedModel(network)
        return "copied"
    except RuntimeError as error:
        return "RuntimeError: " + str(error)[:45]


network = torch.nn.Sequential(torch.nn.Linear(4, 4))
plain = averaged(network)
prune.l1_unstructured(network[0], "weight", amount=0.5)
pruned = averaged(network)
prune.remove(network[0], "weight")
permanent = averaged(network)
seen(f"the average of a network: plain {plain}; pruned {pruned}; after remove {permanent}",
     plain == permanent == "copied" and pruned.startswith("RuntimeError"))

sys.exit(1 if changed else 0)
PROGRAM
