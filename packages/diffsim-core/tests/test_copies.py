"""Environments, simulators and sensors can be copied, pickled and sent to another process; JAX can trace a reset."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest

import diffsim_core
from diffsim_core.rigid import Sensors

pytest.importorskip("torch")

OPTIONS: dict[str, dict[str, Any]] = {
    "cartpole": {},
    "hopper": {"dtype": "float64"},
    "ant": {"randomize": {"link_mass": (0.9, 1.1)}},
    "dejong": {},
}
WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
by_way = pytest.mark.parametrize("way", WAYS)


def some_steps(env: Any) -> list[bytes]:
    """The bits of a few steps."""
    state, obs = env.reset(3)
    found = [obs]
    for _ in range(3):
        state, step = env.step(state, obs[:, : env.spec.num_actions].tanh())
        obs = step.obs
        found += [obs, step.reward]
    return [x.numpy().tobytes() for x in found]


@by_way
@pytest.mark.parametrize("task", OPTIONS)
def test_a_copied_environment_does_the_same(task, way):
    env = diffsim_core.make(task, num_envs=3, **OPTIONS[task])
    twin = WAYS[way](env)
    assert twin is not env and twin.spec == env.spec
    assert some_steps(twin) == some_steps(env)


@by_way
def test_simulators_and_sensors_are_copied_with_their_options(way):
    dynamics = diffsim_core.make("hopper", num_envs=2).task.dynamics.with_parameters(["link_mass"])
    sensors = Sensors(dynamics, ["position:torso"])
    twin, read = WAYS[way]((dynamics, sensors))
    assert twin.parameters.names == dynamics.parameters.names
    assert (twin.dt, twin.substeps, twin.dtype) == (dynamics.dt, dynamics.substeps, dynamics.dtype)
    assert read.columns == sensors.columns


def test_a_process_that_starts_anew_takes_an_environment():
    env = diffsim_core.make("cartpole", num_envs=2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(some_steps, (env,)) == some_steps(env)


@pytest.mark.parametrize("task", ["hopper", "dejong"])
def test_jax_traces_a_reset(task):
    jax = pytest.importorskip("jax")
    env = diffsim_core.make(task, num_envs=4, arrays="jax")
    reset = jax.jit(env.reset)
    many = jax.vmap(env.reset)(jax.numpy.arange(3))
    for seed in range(3):
        want = env.reset(seed)
        for found in (reset(seed), jax.tree.map(lambda x, at=seed: x[at], many)):
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
                np.testing.assert_array_equal(a, b)
