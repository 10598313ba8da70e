"""What cannot be traced, or could change behind the back of compiled code: the task's own code runs, said once."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core import TaskEnv, from_numpy, stop_gradient
from diffsim_core.tasks.functions import PointDynamics

from ..pendulum import Pendulum
from .tasks import Observing, observing

N = 4
GOAL = 0.5
COUNT = [0]


class Base(Pendulum):
    """Pendulums whose observation is an operation on the usual one."""

    def observe(self, xp, physics, task):
        return self.change(xp, super().observe(xp, physics, task), physics)

    def change(self, xp, obs, physics):
        raise NotImplementedError


def changing(function):
    return type("Changing", (Base,), {"change": lambda self, xp, obs, physics: function(self, xp, obs, physics)})


def branch(self, xp, obs, physics):
    return obs if physics.q[0, 0] > 100 else 2 * obs


def loop(self, xp, obs, physics):
    return xp.stack(list(obs))


def in_place(self, xp, obs, physics):
    obs = 1.0 * obs
    obs[:, 0] = 0.0
    return obs


def added_in_place(self, xp, obs, physics):
    obs = 1.0 * obs
    obs += 1.0
    return obs


def number(self, xp, obs, physics):
    return obs * float(obs.max())


def own_torch(self, xp, obs, physics):
    return torch.sin(obs)


def own_numpy(self, xp, obs, physics):
    return obs + torch.from_numpy(np.sin(obs.detach().numpy()))


def held_tensor(self, xp, obs, physics):
    return obs - torch.ones(8)


def held_array(self, xp, obs, physics):
    return obs * torch.as_tensor(np.ones(8, np.float32))


def unknown(self, xp, obs, physics):
    return xp.sort(obs, axis=1)


def over_worlds(self, xp, obs, physics):
    return obs - xp.mean(obs, axis=0)


def world_by_world(self, xp, obs, physics):
    return obs * from_numpy(np.arange(N, dtype=np.float32)[:, None], obs)


def reordered(self, xp, obs, physics):
    return xp.flip(obs, axis=0)


def one_world(self, xp, obs, physics):
    return obs + obs[:1]


def clock(self, xp, obs, physics):
    return obs + time.perf_counter_ns() % 1_000_003


def dice(self, xp, obs, physics):
    return obs + float(np.random.default_rng().random())


def counting(self, xp, obs, physics):
    self.calls = getattr(self, "calls", 0) + 1
    return obs


def appending(self, xp, obs, physics):
    COUNT.append(1)
    return obs


def keeping(self, xp, obs, physics):
    last, self.last = getattr(self, "last", obs), obs
    return obs + 0.0 * last


def swallowing(self, xp, obs, physics):
    try:
        return xp.sort(obs, axis=1)
    except Exception:
        return obs


def doubles(self, xp, obs, physics):
    return xp.astype(obs * from_numpy(np.full(8, 1 / 3), obs), xp.float32)


def double(self, xp, obs, physics):
    return xp.astype(xp.astype(obs, xp.float64) / 3, xp.float32)


REASONS = {
    branch: "a branch on a value|selecting worlds",
    loop: "a loop over worlds",
    in_place: "a write in place",
    added_in_place: r"a write in place \(x \+= y\)",
    number: "'max' of an array",
    own_torch: "torch.sin",
    own_numpy: "'detach' of an array",
    held_tensor: "a torch tensor that the task holds",
    held_array: "a torch tensor that the task holds",
    unknown: "xp.sort",
    over_worlds: "xp.mean over worlds",
    world_by_world: "differ from world to world",
    reordered: "xp.flip over worlds",
    one_world: "selecting worlds",
    clock: "depend on more than their arguments",
    dice: "depend on more than their arguments",
    counting: "change attribute 'calls'",
    appending: "global variable 'COUNT'",
    keeping: "a torch tensor that the task holds",
    swallowing: "xp.sort",
    double: "xp.astype",
    doubles: "an array of float64 in a task of float32",
}


@pytest.mark.parametrize("function", REASONS, ids=lambda f: f.__name__)
def test_the_tasks_own_code_runs_and_the_reason_is_named(function):
    """With the bits of an environment that never asked, the function's name, and its line."""
    env, plain = (TaskEnv(changing(function)(), N, arrays="torch", fused=fused) for fused in (True, False))
    state, _ = env.reset(0)
    action = torch.linspace(-1, 1, 2 * N).reshape(N, 2)
    with pytest.warns(UserWarning, match=f"task 'pendulum' takes its steps as separate.*({REASONS[function]})") as said:
        after, row = env.step(state, action)
    assert len(said) == 1 and not env.fused
    with warnings.catch_warnings(action="error"):
        env.step(after, action)
    if function not in (clock, dice):
        expected = plain.step(plain.reset(0)[0], action)
        assert torch.equal(row.obs, expected[1].obs) and torch.equal(after.physics.q, expected[0].physics.q)


def test_the_line_is_named():
    env = TaskEnv(changing(unknown)(), N, arrays="torch", fused=True)
    with pytest.warns(UserWarning, match=r"observe uses xp\.sort \(test_refused\.py, line \d+\)"):
        env.step(env.reset(0)[0], torch.zeros(N, 2))


class Curriculum:
    level = 1.0


class Slotted:
    __slots__ = ("height",)

    def __init__(self):
        self.height = 0.25


class Aiming(Pendulum):
    """Its target may be an attribute, in a list, in an object, in an array, or a global variable."""

    shift = 0.0

    def __init__(self):
        super().__init__()
        self.goal, self.goals, self.array = 0.5, [0.5], np.array([0.5, 0.25], np.float32)
        self.curriculum, self.table, self.slotted = Curriculum(), {"goal": 0.5}, Slotted()

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        target = self.goal + self.goals[0] + self.curriculum.level + self.table["goal"] + GOAL + self.shift
        target += self.slotted.height
        away = next_physics.q - from_numpy(self.array, next_physics.q) * target
        return -xp.sum(away * away, axis=1)


CHANGES = {
    "attribute 'goal'": lambda task: setattr(task, "goal", 1.5),
    "attribute 'height'": lambda task: setattr(task.slotted, "height", 0.5),
    "attribute 'goals'": lambda task: task.goals.__setitem__(0, 2.5),
    "attribute 'level'": lambda task: setattr(task.curriculum, "level", 2.0),
    "'goal'": lambda task: task.table.update(goal=3.0),
    "attribute 'array'": lambda task: task.array.__setitem__(1, 1.0),
    "global variable 'GOAL'": lambda task: globals().update(GOAL=0.75),
    "attribute of Aiming: 'shift'": lambda task: setattr(Aiming, "shift", 1.0),
    "attribute 'array' ": lambda task: setattr(task, "array", np.array([1.0, 1.0], np.float32)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_later_is_noticed(name, monkeypatch):
    monkeypatch.setattr(Aiming, "shift", 0.0)
    monkeypatch.setitem(globals(), "GOAL", 0.5)
    env, plain = (TaskEnv(Aiming(), N, arrays="torch", fused=fused) for fused in (True, False))
    state, _ = env.reset(0)
    with warnings.catch_warnings(action="error"):
        env.step(state, torch.zeros(N, 2))
    assert env.fused
    for task in (env.task, plain.task):
        CHANGES[name](task)
    with pytest.warns(UserWarning, match=f"{name.strip()}.* has changed since the first step"):
        _, row = env.step(state, torch.zeros(N, 2))
    assert not env.fused and torch.equal(row.reward, plain.step(state, torch.zeros(N, 2))[1].reward)


class Counter(Pendulum):
    """Remembers whole numbers, which are handed on or counted."""

    counts = False

    def initial(self, xp, random):
        physics, action = super().initial(xp, random)
        return physics, (action, xp.astype(0 * action[:, 0], xp.int32), random.uniform(5, (2,)))

    def advance(self, xp, action, task):
        return action, task[1] + 1 if self.counts else task[1], task[2]

    def observe(self, xp, physics, task):
        return super().observe(xp, physics, task[0]) + xp.sum(task[2], axis=1)[:, None]


def test_memory_of_other_types_is_handed_on_and_arithmetic_with_it_is_not_traced():
    env, plain = (TaskEnv(Counter(horizon=3), N, arrays="torch", fused=fused) for fused in (True, False))
    (one, _), (two, _) = env.reset(0), plain.reset(0)
    for _ in range(7):
        goal = one.task[2].clone().requires_grad_()
        (one, row), (two, other) = (
            e.step(s._replace(task=(*s.task[:2], goal)), torch.ones(N, 2)) for e, s in ((env, one), (plain, two))
        )
        pair = [
            torch.autograd.grad(r.final_obs.sum() + s.task[2].sum(), goal)[0] for r, s in ((row, one), (other, two))
        ]
        torch.testing.assert_close(*pair)
        one, two = map(stop_gradient, (one, two))
        assert one.task[1].dtype == torch.int32 and all(map(torch.equal, one.task, two.task))
        torch.testing.assert_close(row.obs, other.obs)
    assert env.fused
    counting = TaskEnv(type("Counting", (Counter,), {"counts": True})(), N, arrays="torch", fused=True)
    with pytest.warns(UserWarning, match="advance uses arithmetic with memory that is not of the task's number type"):
        counting.step(counting.reset(0)[0], torch.zeros(N, 2))


def test_compiled_code_that_differs_is_not_used(monkeypatch):
    """Whatever the reason: here a derivative that is wrong, then a value."""
    from dataclasses import replace

    from diffsim_core._traced import OPS

    wrong_slope = replace(OPS["sin"], pull=lambda b, g, node: [g])
    wrong_value = replace(OPS["*"], code="{0} * {1} * number(T(1.01))")
    for op, wrong, what in (("sin", wrong_slope, "the gradient with respect to"), ("*", wrong_value, "differs by")):
        with monkeypatch.context() as patch:
            patch.setitem(OPS, op, wrong)
            env = TaskEnv(Pendulum(), N, arrays="torch", fused=True)
            with pytest.warns(UserWarning, match=f"{what}.* between compiled code and the task's own"):
                env.step(env.reset(0)[0], torch.zeros(N, 2))
        assert not env.fused


@pytest.mark.parametrize("arrays", ["jax"])
def test_other_libraries_are_named(arrays):
    with pytest.warns(UserWarning, match="only torch has them in one, not arrays='jax'"):
        env = diffsim_core.make("cartpole", num_envs=2, arrays=arrays, fused=True)
    assert not env.fused


def test_large_tasks_are_not_compiled():
    task = Observing(lambda xp, x: xp.concat([xp.sin(x * float(k)) for k in range(2000)], axis=1), 4000)
    env = TaskEnv(task, N, arrays="torch", dtype="float64", fused=True)
    with pytest.warns(UserWarning, match="observe uses more than 5000 operations"):
        env.step(env.reset(0)[0], torch.zeros(N, 2, dtype=torch.float64))


def test_it_is_said_once_however_many_environments_there_are():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(2):
            env = observing(branch_on_values)
            env.step(env.reset(0)[0], torch.zeros(6, 2, dtype=torch.float64))
            assert not env.fused
    assert len(said) == 1 and said[0].filename.endswith("tasks.py")


def branch_on_values(xp, x):
    return x if x[0, 0] > 0 else -x


def test_options_that_are_none_of_it():
    with pytest.raises(ValueError, match="fused of task 'cartpole' is 3; it takes true or false"):
        diffsim_core.make("cartpole", num_envs=2, fused=3)
    assert not diffsim_core.make("cartpole", num_envs=2).fused
    assert diffsim_core.task_options("ant").known["fused"].default is False
    assert PointDynamics(2, dtype="float32", device="cpu").state_spec
