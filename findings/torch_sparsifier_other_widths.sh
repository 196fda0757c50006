#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with torch 2.15.0 (PyPI), on a CPU; 6 GB are unpacked.
#
# Expected of torch.ao.pruning.WeightNormSparsifier with blocks of 1 x 4 of which two are zeros (2:4), for a layer whose width
# is no multiple of 4: an error when the layer is prepared or masks are made; or a shorter last group that keeps two.
#
# Behaviour: prepare and step succeed. What step leaves is a mask of the width rounded up to a multiple of 4, in which the
# columns that do not exist take part: of a last group of one or two weights they are "kept" beside it. The first forward pass
# after that raises AssertionError (mask shape must match x shape); the masks of widths that fit are as expected.
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
from torch.ao.pruning import WeightNormSparsifier

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


for width in (5, 6, 7, 8, 9):
    network = torch.nn.Sequential(torch.nn.Linear(width, 2, bias=False))
    with torch.no_grad():
        network[0].weight[:] = torch.arange(1.0, 2 * width + 1).reshape(2, width)
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(network, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    mask = network[0].parametrizations.weight[0].mask
    try:
        network(torch.ones(1, width))
        said = "runs"
    except AssertionError as error:
        said = "AssertionError"
    rounded = (width + 3) // 4 * 4
    seen(f"{width} columns: a mask of {mask.shape[1]}, row 0 {mask[0].int().tolist()}, forward {said}",
         tuple(mask.shape) == (2, rounded) and said == ("runs" if rounded == width else "AssertionError"))

sys.exit(1 if changed else 0)
PROGRAM
