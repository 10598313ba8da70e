"""Every algorithm on every task: two updates, or a refusal that names the reason before the first step."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math

import pytest

import diffsim_core
from diffrl_algos import get_algorithm, list_algorithms
from diffsim_core import task_options

NEEDS_NEWTON = pytest.mark.skipif(importlib.util.find_spec("newton") is None, reason="could not import 'newton'")
PAIRS = [
    pytest.param(entry.name, task, id=f"{entry.name}-{task}", marks=NEEDS_NEWTON if "newton" in task else ())
    for task in diffsim_core.list_tasks()
    for entry in list_algorithms()
]
SMALL = {
    "iterations": 2,
    "horizon": 4,
    "horizon_min": 2,
    "actor_hidden": (8,),
    "critic_hidden": (8,),
    "critic_iterations": 2,
    "actor_iterations": 2,
    "updates": 2,
    "batch_size": 16,
    "warmup_steps": 4,
}
"""Set where a configuration has the field."""
REFUSALS = ("is not differentiable", "has no encoder")


@functools.cache
def worlds(task: str, arrays: str):
    """Two worlds of a task, made once for all algorithms; episodes as short as the task allows."""
    known = task_options(task).known
    options = {"episode_length": 6, "threads": 1}
    if task.startswith("newton_"):
        options["substeps"] = 2
    short = {name: value for name, value in options.items() if name in known}
    return diffsim_core.make(task, num_envs=2, arrays=arrays, **short)


@pytest.mark.parametrize(("algorithm", "task"), PAIRS)
def test_two_updates(algorithm, task):
    entry = get_algorithm(algorithm)
    env = worlds(task, entry.arrays)
    config = entry.config_class()()
    names = {field.name for field in dataclasses.fields(config)}
    learner = entry.build(
        dataclasses.replace(config, **{name: value for name, value in SMALL.items() if name in names})
    )
    try:
        state = learner.init(env, 0)
    except ValueError as error:
        # Only for what the environment says of itself.
        assert not env.spec.differentiable or not hasattr(env.reset(0)[1], "shape"), error
        assert task in str(error) and any(words in str(error) for words in REFUSALS), error
        return
    for _ in range(2):
        state, metrics = learner.update(state)
        bad = {k: v for k, v in metrics.items() if isinstance(v, float) and not math.isfinite(v)}
        assert not bad and metrics["refused_updates"] == 0
    assert state.iteration == 2 and state.env_steps >= 2 * env.num_envs
    action = learner.policy(state)(env.reset(1)[1])
    assert tuple(action.shape) == (env.num_envs, env.spec.num_actions)
    assert abs(action).max() <= 1
