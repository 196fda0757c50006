#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with torchmetrics 1.9.0, torch 2.15.0 and scikit-learn 1.9.1 (PyPI), on a CPU; 6 GB are unpacked.
#
# Expected of the area under the ROC curve where all targets are of one class, so that there is no pair to compare: an error or
# NaN, and a macro average over classes that leaves such classes out or is NaN itself.
#
# Behaviour: torchmetrics gives 0, the value of a model that has every pair the wrong way round, with a warning, and its macro
# average counts the 0: perfect scores for the two of three classes that occur have 0.667. A mean over parts of a validation
# set does the same to every part with one class. scikit-learn gives NaN and a warning for both.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.15.0 scikit-learn==1.9.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PROGRAM'
import math
import sys

import torch
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

changed = []


def seen(what, holds):
    print(f"{'as found' if holds else 'CHANGED '}  {what}")
    if not holds:
        changed.append(what)


scores = torch.tensor([0.1, 0.5, 0.9])
for only in (0, 1):
    targets = torch.full((3,), only)
    ours, theirs = float(binary_auroc(scores, targets)), float(roc_auc_score(targets.numpy(), scores.numpy()))
    seen(f"all targets {only}: torchmetrics {ours}, scikit-learn {theirs}", ours == 0.0 and math.isnan(theirs))
probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
targets = torch.tensor([0, 1, 0, 1])
each = multiclass_auroc(probabilities, targets, num_classes=3, average=None).tolist()
macro = float(multiclass_auroc(probabilities, targets, num_classes=3, average="macro"))
theirs = float(roc_auc_score(targets.numpy(), probabilities.numpy(), multi_class="ovr", labels=[0, 1, 2], average="macro"))
seen(f"three classes of which one does not occur: torchmetrics {each}, macro {macro:.4f}; scikit-learn macro {theirs}",
     each == [1.0, 1.0, 0.0] and abs(macro - 2 / 3) < 1e-6 and math.isnan(theirs))

sys.exit(1 if changed else 0)
PROGRAM
