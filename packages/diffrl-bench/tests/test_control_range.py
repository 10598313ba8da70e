"""Every task says what actions of -1 and 1 stand for, and its controls agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core.tasks._rigid import RigidTask

OURS = ("diffsim_core.", "diffsim_mpm.", "diffsim_traffic.")
TASKS = [name for name in diffsim_core.list_tasks() if not name.startswith("newton_")]
SMALLER = {"hand_flip", "rolling_pin", "fluid_move", "soft_jumper"}
"""Tasks of which a small variant has the same controls."""


def controls(task, action):
    """All control arrays in one, ``[B, nu]``, for actions ``[B, na]``."""
    return np.concatenate([part.numpy() for part in task.control(torch, torch.tensor(action, dtype=torch.float32))], 1)


@pytest.mark.parametrize("name", [name for name in TASKS if name not in SMALLER])
def test_controls_span_the_range(name):
    env = diffsim_core.make(name)
    if not type(env.task).__module__.startswith(OURS):
        pytest.skip("a task of another test")
    n, limits = env.spec.num_actions, np.array(env.spec.control_range)
    assert limits.shape == (n, 2)
    action = np.concatenate([-np.ones((1, n)), np.ones((1, n)), np.random.default_rng(0).uniform(-1, 1, (5, n))])
    found = controls(env.task, action)
    driven = found[0] != found[1]  # a control may be none of the policy's
    assert driven.sum() == n
    expected = limits[:, 0] + (limits[:, 1] - limits[:, 0]) * (0.5 + 0.5 * action)
    np.testing.assert_allclose(found[:, driven], expected, rtol=1e-5, atol=1e-6 * np.abs(limits).max())


def test_a_task_with_controls_of_its_own_says_nothing_wrong():
    class Halved(RigidTask):
        def control(self, xp, action):
            return (0.5 * action,)

    dynamics = diffsim_core.make("ant").task.dynamics
    assert RigidTask(dynamics, episode_length=5, obs_names=()).control_range == ((-1.0, 1.0),) * 8
    assert Halved(dynamics, episode_length=5, obs_names=()).control_range == ()
