#!/usr/bin/env bash
# torch 2.13.0 on a CPU: layer_norm in float32 loses rows whose numbers are large but far from float32's end, which is at
# 3.4e38. It takes the variance from squares, which overflow from 1.8e19 on. A row with differences becomes zeros, in
# silence; a constant row becomes NaN. torch.var_mean of the same rows is right in both cases (for a constant row it gives
# 0), so two functions of one library disagree. A policy with LayerNorm whose observations explode, as those of a world
# that is about to diverge do, acts on its biases alone, and nothing says so.
#
# Seen on 2026-11-30 (Linux, Python 3.11, no GPU):
#   row [1e+18, 1e+18, 1e+18, -3e+18]: layer_norm [0.577, 0.577, 0.577, -1.732]
#   row [1e20, 1e20, 1e20, -3e20]: layer_norm [0.0, 0.0, 0.0, 0.0], by hand from var_mean in float64 [0.577, 0.577, 0.577, -1.732]
#   row [1e20, 1e20, 1e20, 1e20]: layer_norm [nan, nan, nan, nan], variance by var_mean 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat >"$folder/rows.py" <<'PY'
import sys

import torch


def normed(row):
    found = torch.nn.functional.layer_norm(torch.tensor([row]), (len(row),))[0]
    return [round(x, 3) for x in found.tolist()]


exact = [0.577, 0.577, 0.577, -1.732]
small, large, constant = [1e18, 1e18, 1e18, -3e18], [1e20, 1e20, 1e20, -3e20], [1e20] * 4
wide = torch.tensor([large], dtype=torch.float64)
var, mean = torch.var_mean(wide, dim=1, correction=0)
by_hand = [round(x, 3) for x in ((wide - mean) / var.sqrt())[0].tolist()]
variance = torch.var_mean(torch.tensor([constant]), dim=1, correction=0)[0].item()
print(f"row {small}: layer_norm {normed(small)}")
print(f"row {large}: layer_norm {normed(large)}, by hand from var_mean in float64 {by_hand}")
print(f"row {constant}: layer_norm {normed(constant)}, variance by var_mean {variance}")
lost = normed(large) == [0.0] * 4 and by_hand == exact
spoilt = all(x != x for x in normed(constant)) and variance == 0.0
sys.exit(not (normed(small) == exact and lost and spoilt))
PY
"$folder/venv/bin/python" "$folder/rows.py"
