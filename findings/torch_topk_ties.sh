#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with torch 2.15.0 (PyPI), on a CPU; 6 GB are unpacked.
#
# Expected of torch.topk where values are equal: those of lower index, in rising order, as argmax and a stable sort choose them
# (and jax.lax.top_k and numpy's stable argsort); or at least a choice that does not depend on how many more there are.
#
# Behaviour: it takes what a partition of the row leaves in front, and gives it in that order. All values being equal, as the
# logits of a gate whose kernel starts at 0 are, the choice depends on the length of the row and on k: the best two of 100
# are not the first two of the best 50. Its page promises nothing about it. NaN is above all numbers.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PROGRAM'
import sys

import torch

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


def best(count, k):
    return torch.topk(torch.zeros(count), k).indices.tolist()


found = {(count, k): best(count, k) for count in (8, 16, 64) for k in (2, 3, 4)}
for count in (8, 16, 64):
    seen(f"of {count} equal values the best 2, 3, 4: " + ", ".join(str(found[count, k]) for k in (2, 3, 4)),
         all(found[count, k] != list(range(k)) for k in (2, 3, 4)))
two, many = best(100, 2), best(100, 50)
seen(f"of 100 the best 2: {two}, the best 50 begin with {many[:4]}", many[:2] != two and two != [0, 1])
seen("argmax, and the stable sort that falls, take the first",
     all(int(torch.argmax(torch.zeros(n))) == 0 and
         torch.sort(torch.zeros(n), descending=True, stable=True).indices[:4].tolist() == [0, 1, 2, 3] for n in (8, 16, 64)))
x = torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0])
seen(f"1, 3, 3, 2, 3: topk {torch.topk(x, 3).indices.tolist()}, argmax {int(torch.argmax(x))}",
     torch.topk(x, 3).indices.tolist() != [1, 2, 4] and int(torch.argmax(x)) == 1)

sys.exit(1 if changed else 0)
PROGRAM
