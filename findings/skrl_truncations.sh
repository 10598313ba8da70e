#!/usr/bin/env bash
# skrl 2.1.1: the advantages of PPO run on through a time limit. Its compute_gae takes both flags, terminated and truncated,
# but by default (time_limit_bootstrap=False) only the first ends an episode. With worlds that reset themselves, the step
# after a truncation belongs to another episode, and its rewards reach the advantages of the steps before. skrl 2.0 does so
# with the option too. The option's name speaks of bootstrapping only, which hides that it ends the episode as well.
#
# Seen on 2026-11-29 (Linux, Python 3.11, no GPU), return of the first of two steps, the first truncated, the reward of the
# second 0 and 100, all values 0, discount and lambda 1:
#   time_limit_bootstrap False: 1 and 101
#   time_limit_bootstrap True: 1 and 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet skrl==2.1.1 torch==2.13.0 numpy
cat >"$folder/returns.py" <<'PY'
import sys

import torch
from skrl.agents.torch.ppo.ppo import compute_gae


def first_return(next_reward, bootstrap):
    """Of a step that ends its episode by a time limit, before a step of the next episode."""
    returns, _ = compute_gae(
        rewards=torch.tensor([[[1.0]], [[next_reward]]]),
        terminated=torch.tensor([[[False]], [[False]]]),
        truncated=torch.tensor([[[True]], [[False]]]),
        values=torch.zeros(2, 1, 1),
        last_values=torch.zeros(1, 1),
        discount_factor=1.0,
        lambda_coefficient=1.0,
        time_limit_bootstrap=bootstrap,
    )
    return float(returns[0])


seen = {bootstrap: [first_return(reward, bootstrap) for reward in (0.0, 100.0)] for bootstrap in (False, True)}
for bootstrap, (one, other) in seen.items():
    print(f"time_limit_bootstrap {bootstrap}: {one:g} and {other:g}")
sys.exit(seen != {False: [1.0, 101.0], True: [1.0, 1.0]})
PY
"$folder/venv/bin/python" "$folder/returns.py" 2>/dev/null
