"""Traffic tasks take their steps in one operation, with the values and gradients of separate ones."""

from __future__ import annotations

import warnings

import pytest
import torch

import diffsim_core
from diffsim_core._traced import differentiated

N = 7


@pytest.mark.parametrize("name", ["pace_car_1", "pace_car_3", "ring"])
@pytest.mark.parametrize("options", [{}, {"spread": 0.1}], ids=["", "spread"])
def test_both_ways_agree(name, options):
    fused, separate = (
        diffsim_core.make(name, num_envs=N, dtype="float64", episode_length=30, fused=fused, **options)
        for fused in (True, False)
    )
    state, _ = fused.reset(0)
    action = torch.linspace(-1.2, 1.2, N * fused.spec.num_actions, dtype=torch.float64).reshape(N, -1)
    for k in range(40):
        if k % 8 == 0:
            with warnings.catch_warnings(action="error"):
                one, two = (differentiated(env.step, state, action) for env in (separate, fused))
            for first, second in ((one.values, two.values), (one.gradients, two.gradients)):
                for part, x in first.items():
                    torch.testing.assert_close(second[part], x, rtol=1e-9, atol=1e-11, equal_nan=True)
        state, _ = separate.step(state, action.roll(k, 0))
    assert fused.fused and state.episode.max() > 0
