"""APG: SHAC where the critic says nothing, and the gradient of whole episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffrl_algos import APGConfig, SHACConfig
from diffrl_algos.torch import APG, SHAC
from diffrl_algos.torch._adam import Adam
from diffrl_algos.torch._state import from_arrays, to_arrays

from .learning import before_and_after

SMALL = {"iterations": 10, "horizon": 8, "actor_hidden": (16, 8)}


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


def test_without_a_critic_shac_takes_the_same_step(worlds):
    """SHAC with a critic of zeros."""
    shac, apg = SHAC(SHACConfig(**SMALL)), APG(APGConfig(**SMALL))
    theirs, mine = shac.init(worlds(), 3), apg.init(worlds(), 3)
    zeros = torch.zeros_like(theirs.critic)
    theirs = theirs.replace(critic=zeros, target=zeros, critic_adam=Adam.init(zeros))
    theirs = theirs.replace(run=theirs.run._replace(rng=mine.run.rng))
    assert torch.equal(mine.actor, theirs.actor)
    mine, theirs = apg.update(mine)[0], shac.update(theirs)[0]
    assert torch.equal(mine.actor, theirs.actor) and torch.equal(mine.run.obs, theirs.run.obs)


def test_windows_that_restart_are_whole_episodes(worlds):
    """Each begins with new episodes, whose random numbers no other window has; the same when it is resumed."""
    env = worlds(limit=10.0, horizon=6)
    algorithm = APG(APGConfig(**{**SMALL, "horizon": 6}, restart=True))
    state, metrics = run(algorithm, algorithm.init(env, 0), 4)
    assert metrics[-1]["episodes"] == 4 * 6 and metrics[-1]["length_mean"] == 6
    assert all((state.run.env_state.t == 0).tolist())
    half, _ = run(algorithm, algorithm.init(env, 0), 2)
    restored = from_arrays(algorithm.init(env, 0), to_arrays(half))
    again, _ = run(algorithm, restored, 2)
    assert all(np.array_equal(a, b) for a, b in zip(to_arrays(state).values(), to_arrays(again).values(), strict=True))
    seeds = {int(half.run.env_state.seed), int(state.run.env_state.seed)}
    assert len(seeds) == 2


def test_episodes_cut_by_a_restart_are_not_counted(worlds):
    env = worlds(limit=10.0, horizon=6)
    algorithm = APG(APGConfig(**{**SMALL, "horizon": 4}, restart=True))
    _, metrics = run(algorithm, algorithm.init(env, 0), 4)
    assert metrics[-1]["episodes"] == 0 and metrics[-1]["return_mean"] is None


@pytest.mark.parametrize("restart", [False, True])
def test_learns_to_control_a_point_mass(worlds, restart):
    config = APGConfig(iterations=30, horizon=40, actor_hidden=(32,), actor_lr=2e-2, restart=restart)
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    untrained, trained, _ = before_and_after(APG(config), env)
    assert untrained < 0.0 < 36.0 < trained < 40.0
