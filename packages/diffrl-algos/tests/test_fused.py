"""Algorithms on environments whose steps are one operation each."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

import diffsim_core
from diffrl_algos.torch import APG, PPO, SHAC, APGConfig, PPOConfig, SHACConfig

ALGORITHMS = {
    "shac": lambda: SHAC(SHACConfig(iterations=4, horizon=6)),
    "apg": lambda: APG(APGConfig(iterations=4, horizon=6)),
    "ppo": lambda: PPO(PPOConfig(iterations=4, horizon=6)),
}


def make(fused: bool):
    return diffsim_core.make("hopper", num_envs=8, episode_length=9, threads=1, fused=fused)


def tensors(state):
    from diffsim_core._tree import tree_leaves

    return {
        name: x
        for name, x in tree_leaves({field.name: getattr(state, field.name) for field in fields(state)})
        if isinstance(x, torch.Tensor)
    }


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_seed_gives_the_same_bits_and_another_environment_goes_on(name):
    """Four updates, and two in one environment followed by two in another, as after a resume."""
    ends = []
    for parts in ((4,), (4,), (2, 2)):
        algorithm = ALGORITHMS[name]()
        state = algorithm.init(make(True), 5)
        for k, updates in enumerate(parts):
            if k:
                state = replace(state, run=state.run._replace(env=make(True)))
            for _ in range(updates):
                state, _ = algorithm.update(state)
        assert state.run.env.fused
        ends.append(tensors(state))
    for end in ends[1:]:
        assert end.keys() == ends[0].keys() and all(torch.equal(x, end[key]) for key, x in ends[0].items())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_update_is_that_of_separate_steps_up_to_rounding(name):
    ends = []
    for fused in (False, True):
        algorithm = ALGORITHMS[name]()
        ends.append(tensors(algorithm.update(algorithm.init(make(fused), 5))[0]))
    for key, x in ends[0].items():
        torch.testing.assert_close(ends[1][key], x, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}")
