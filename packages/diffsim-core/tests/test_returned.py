"""What a task returns: everything that does not fit is refused with the task, the function and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffsim_core import TaskEnv, rollout

from .pendulum import Pendulum, PendulumState

N = 5
LIBRARIES = {"torch": torch.from_numpy, "jax": jnp.asarray}


class Metered(Pendulum):
    """A task whose every function goes through ``spoil``."""

    def __init__(self, function: str = "", spoil: Callable[[Any], Any] = lambda value: value) -> None:
        super().__init__()
        self.function, self.spoil = function, spoil

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name != super().__getattribute__("__dict__").get("function"):
            return found
        spoil = self.spoil

        def spoilt(*arguments: Any) -> Any:
            return spoil(found(*arguments))

        return spoilt


PARTS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "q of initial": ("initial", lambda v: v[0][0], lambda v, new: ((new, v[0][1]), v[1])),
    "qd of initial": ("initial", lambda v: v[0][1], lambda v, new: ((v[0][0], new), v[1])),
    "control": ("control", lambda v: v[0], lambda v, new: (new,)),
    "advance": ("advance", lambda v: v, lambda v, new: new),
    "observe": ("observe", lambda v: v, lambda v, new: new),
    "reward": ("reward", lambda v: v, lambda v, new: new),
    "terminated": ("terminated", lambda v: v, lambda v, new: new),
    "metric speed": ("metrics", lambda v: v["speed"], lambda v, new: {"speed": new}),
}
"""Every array that a task returns: its function, where it is, and the same with another in its place."""


def _as(like: Any, values: np.ndarray) -> Any:
    return LIBRARIES["torch" if isinstance(like, torch.Tensor) else "jax"](values)


def _array(like: Any) -> np.ndarray:
    return like.detach().numpy() if isinstance(like, torch.Tensor) else np.asarray(like)


WRONG: dict[str, Callable[[Any], Any]] = {
    "[N, 1] or one axis more": lambda x: _as(x, np.array(_array(x)[..., None])),
    "[N, N]": lambda x: _as(x, np.zeros((N, N), _array(x).dtype)),
    "a scalar array": lambda x: _as(x, np.zeros((), _array(x).dtype)),
    "one world": lambda x: _as(x, np.array(_array(x)[:1])),
    "one world more": lambda x: _as(x, np.concatenate([_array(x), _array(x)[:1]])),
    "time first": lambda x: _as(x, np.array(_array(x)[None])),
    "whole numbers": lambda x: _as(x, _array(x).astype(np.int32)),
    "half precision": lambda x: _as(x, _array(x).astype(np.float16)),
    "complex numbers": lambda x: _as(x, _array(x).astype(np.complex64)),
    "truth for numbers, numbers for truth": lambda x: _as(
        x, _array(x).astype("f4" if _array(x).dtype == bool else bool)
    ),
    "None": lambda x: None,
    "a Python number": lambda x: 1.0,
    "a Python truth": lambda x: True,
    "a list": lambda x: _array(x).tolist(),
    "a NumPy array": lambda x: np.array(_array(x)),
    "an array of the other library": lambda x: (
        jnp.asarray(_array(x)) if isinstance(x, torch.Tensor) else torch.from_numpy(np.array(_array(x)))
    ),
}
DTYPES = {"whole numbers", "half precision", "complex numbers", "truth for numbers, numbers for truth"}
"""Metrics may have any dtype."""


@pytest.mark.parametrize("arrays", LIBRARIES)
@pytest.mark.parametrize(
    ("part", "wrong"),
    [(part, wrong) for part in PARTS for wrong in WRONG if part != "metric speed" or wrong not in DTYPES],
)
def test_every_wrong_array_is_refused_with_task_and_function(part, wrong, arrays):
    function, get, put = PARTS[part]
    env = TaskEnv(Metered(function, lambda v: put(v, WRONG[wrong](get(v)))), N, arrays=arrays)
    with pytest.raises(ValueError, match=rf"^task 'pendulum': {function} returned .*; .*expected .+") as caught:
        _step(env)
    assert "\n" not in str(caught.value)


def test_a_wrong_device_is_refused():
    for function, get, put in PARTS.values():
        if function == "initial":  # the rest is compared with it; a simulator compares it with its own device
            continue
        env = TaskEnv(Metered(function, lambda v, get=get, put=put: put(v, get(v).to("meta"))), N, arrays="torch")
        with pytest.raises(ValueError, match=f"{function} returned .* on meta; expected it on cpu"):
            _step(env)


STRUCTURES = {
    "a state without the task's": (
        "initial",
        lambda v: PendulumState(*v[0]),
        r"a PendulumState alone; .*\(physics, task\)",
    ),
    "a pair without the task's": ("initial", lambda v: v[0], "returned a torch array of shape .*q, qd"),
    "one array": ("initial", lambda v: v[0][0], "returned a torch array of shape"),
    "three parts": ("initial", lambda v: (*v, ()), "returned a tuple of 3"),
    "a state with one array": ("initial", lambda v: ((v[0][0],), v[1]), "returned a tuple of 1"),
    "a number in the task's state": ("initial", lambda v: (v[0], {"goal": 1.0}), "returned task.goal, the number 1.0"),
    "a goal for all": ("initial", lambda v: (v[0], v[1][0]), r"returned task of shape \(2,\); expected \(5, ...\)"),
    "an array for the tuple of controls": ("control", lambda v: v[0], r"shape \(5, 2\); .*return \(tau,\)"),
    "two controls": ("control", lambda v: (*v, *v), r"a tuple of 2; .*return \(tau,\)"),
    "no control": ("control", lambda v: (), r"a tuple of 0; .*return \(tau,\)"),
    "another state than initial's": (
        "advance",
        lambda v: {"last": v},
        "with task.last; expected .* with task, as initial",
    ),
    "a lost state": ("advance", lambda v: (), "a tuple of 0 with no arrays; expected .* with task"),
    "an undeclared mapping": ("observe", lambda v: {"all": v}, "a mapping of all; the task must give their obs_shapes"),
    "metrics that are no mapping": ("metrics", lambda v: v["speed"], "a torch array .* expected a mapping"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_wrong_structure_is_refused(name):
    function, spoil, words = STRUCTURES[name]
    with pytest.raises(ValueError, match=rf"^task 'pendulum': {function} .*{words}"):
        _step(TaskEnv(Metered(function, spoil), N, arrays="torch"))


def test_a_column_for_a_reward_says_how_it_came_about():
    """A goal ``[N, 1]`` next to numbers ``[N]`` gives ``[N, N]``, which trains without a word."""
    goal = torch.zeros(N, 1)
    env = TaskEnv(Metered("reward", lambda reward: reward - goal), N, arrays="torch")
    with pytest.raises(ValueError, match=r"shape \(5, 5\), float32; expected \(5,\), float32.*its column, x\[:, 0\]"):
        _step(env)


def test_it_is_found_while_jax_traces():
    import jax

    env = TaskEnv(Metered("reward", lambda reward: reward[:, None]), N, arrays="jax")
    state, _ = env.reset(0)
    with pytest.raises(ValueError, match=r"reward returned shape \(5, 1\)"):
        jax.jit(env.step)(state, jnp.zeros((N, 2)))
    with pytest.raises(ValueError, match=r"reward returned shape \(5, 1\)"):
        jax.jit(lambda: rollout(env, lambda obs: jnp.zeros((N, 2)), *env.reset(0), 3))()


def test_each_function_is_checked_until_it_passed_and_then_no_more():
    counted = {"reward": 0}

    def late(reward):
        counted["reward"] += 1
        return reward if counted["reward"] > 2 else reward[:, None]

    env = TaskEnv(Metered("reward", late), N, arrays="torch")
    for _ in range(2):
        with pytest.raises(ValueError, match="reward returned"):
            _step(env)
    _step(env)
    looks = []
    env._returned._checks = {name: lambda *_, name=name: looks.append(name) for name in env._returned._checks}
    state, _ = env.reset(0)
    for _ in range(3):
        state, _ = env.step(state, torch.zeros(N, 2))
    assert looks == []


@pytest.mark.parametrize("function", ["initial", "control", "advance", "observe", "reward", "terminated", "metrics"])
def test_a_function_with_other_arguments_is_refused_when_the_environment_is_made(function):
    task = type("Task", (Pendulum,), {function: lambda self, xp: None})()
    with pytest.raises(
        ValueError, match=rf"task 'pendulum' has {function}\(xp\), but it is called as {function}\(xp, "
    ):
        TaskEnv(task, N, arrays="torch")
    if function != "metrics":
        task = type("Task", (Pendulum,), {function: None})()
        with pytest.raises(ValueError, match=rf"task 'pendulum' has no function {function}\(xp, "):
            TaskEnv(task, N, arrays="torch")


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("name", None, "Task.name is None; a task needs a name"),
        ("horizon", 0, "horizon is 0; expected an integer of at least 1"),
        ("horizon", 20.0, "horizon is 20.0; expected an integer"),
        ("num_obs", None, "num_obs is None; expected an integer of at least 0"),
        ("num_obs", -1, "num_obs is -1"),
        ("num_actions", -1, "num_actions is -1; expected an integer of at least 0"),
        ("num_actions", True, "num_actions is True"),
    ],
)
def test_wrong_attributes_are_refused(attribute, value, words):
    task = type("Task", (Pendulum,), {})()
    setattr(task, attribute, value)
    with pytest.raises(ValueError, match=words):
        TaskEnv(task, N, arrays="torch")


def _step(env: TaskEnv) -> None:
    state, _ = env.reset(0)
    env.step(state, LIBRARIES[env.arrays](np.zeros((env.num_envs, 2), np.float32)))
