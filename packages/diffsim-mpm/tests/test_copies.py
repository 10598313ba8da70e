"""Environments of deformable bodies can be copied, pickled and sent to other processes, as all others."""

from __future__ import annotations

import copy
import pickle

import pytest

import diffsim_core
from diffsim_mpm import MpmDynamics

torch = pytest.importorskip("torch")

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def bits(env) -> list[bytes]:
    state, obs = env.reset(3)
    _, step = env.step(state, torch.full((env.num_envs, env.spec.num_actions), 0.5))
    return [x.numpy().tobytes() for x in (obs, step.obs, step.reward)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", ["hand_flip_small", "rolling_pin_small", "fluid_move_small", "soft_jumper_small"])
def test_a_copied_environment_does_the_same(task, way):
    env = diffsim_core.make(task, num_envs=2)
    assert bits(WAYS[way](env)) == bits(env)


def test_a_simulator_is_copied_with_its_options():
    model = diffsim_core.make("rolling_pin_small", num_envs=1).task.dynamics.model
    dynamics = MpmDynamics(model, dt=0.002, substeps=20, parameters=["E"], reactions=True)
    twin = pickle.loads(pickle.dumps(dynamics))
    assert twin.parameters.names == dynamics.parameters.names
    assert twin.state_type._fields == dynamics.state_type._fields
