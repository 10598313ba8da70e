"""Checks end in lines that name the cause: no derivative, a wrong one, an error of the task, by function and point."""

from __future__ import annotations

import inspect
import json
import re

import jax
import pytest
import torch

from diffsim_core import TaskEnv
from diffsim_core._check_points import derivative_faults
from diffsim_core.check import CheckError, check_env, check_gradients, check_rollout, check_task, one_line
from diffsim_core.io import ModelError

from .pendulum import Pendulum, PendulumDynamics, make_pendulum


class AtRest(Pendulum):
    """A pendulum that begins at rest; ``change(xp, x)`` of a number that is 0 there is added in one function."""

    change, where = staticmethod(lambda xp, x: x), ""

    def initial(self, xp, random):
        (q, qd), task = super().initial(xp, random)
        return (q, 0.0 * qd), 0.0 * task

    def more(self, xp, function, x):
        return self.change(xp, x) if function == self.where else 0.0 * x

    def control(self, xp, action):
        return (self.strength * action + self.more(xp, "control", 0.0 * action),)

    def advance(self, xp, action, task):
        return action + self.more(xp, "advance", task**2)

    def observe(self, xp, physics, task):
        obs = super().observe(xp, physics, task)
        return xp.concat([obs[:, :6], obs[:, 6:] + self.more(xp, "observe", 0.0 * physics.qd**2)], axis=1)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        more = self.more(xp, "reward", xp.sum(physics.qd**2, axis=1))
        return super().reward(xp, physics, action, next_physics, next_obs, task) + more


FUNCTIONS = {"control": r"action\[0\] is ", "advance": r"task\[0\] is 0", "observe": r"physics.qd\[0\] is ",
             "reward": r"physics.qd\[0\] is 0"}  # fmt: skip
SINGULAR = {"sqrt": lambda xp, x: xp.sqrt(x), "pow": lambda xp, x: x**0.25}


def maker(arrays="torch", **attributes):
    cls = type("Task", (AtRest,), attributes)
    return lambda num_envs, dtype="float32": TaskEnv(cls(dtype=dtype), num_envs, arrays=arrays, dtype=dtype)


@pytest.mark.parametrize("singular", ["sqrt", "pow"])
@pytest.mark.parametrize("where", FUNCTIONS)
def test_a_point_without_a_derivative_is_named_with_function_entry_and_line(where, singular):
    make = maker(where=where, change=staticmethod(SINGULAR[singular]))
    line = inspect.getsourcelines(SINGULAR[singular])[1]
    point = rf"{where} has no derivative where .*{FUNCTIONS[where]}.*\(world 0\)"
    cause = rf"{point}: {singular} in test_check_points.py, line {line}"
    with pytest.raises(CheckError, match=f"at the first step, {cause}") as caught:
        check_env(make(4))
    assert len(caught.value.violations) <= 2  # the first step and perhaps the truncated one; no consequences
    if where != "advance":  # what a task remembers is no input of check_gradients
        report = check_gradients(make(4, "float64"), warmup=0)
        assert report.max_rel_error == float("inf") and re.search(cause, report.faults[0])


@pytest.mark.parametrize("where", FUNCTIONS)
def test_jax_names_function_and_entry(where):
    env = maker("jax", where=where, change=staticmethod(SINGULAR["sqrt"]))(4)
    state, _ = env.reset(0)
    (fault,) = derivative_faults(env, state, jax.numpy.full((4, 2), 0.3))
    assert re.fullmatch(rf"{where} has no derivative where .*{FUNCTIONS[where]}.*\(world 0\)", fault)


def test_a_rollout_names_the_step():
    make = maker(where="observe", change=staticmethod(SINGULAR["sqrt"]))
    report = check_rollout(make, num_envs=2, horizon=4, warmup=0)
    assert re.fullmatch(r"step 0: observe has no derivative where physics.qd\[0\] is .*", report.not_finite[0])
    assert report.horizon_of_trust == 0
    report = check_rollout(make_pendulum, num_envs=2, horizon=2)
    assert report.not_finite == ()


class Cut(Pendulum):
    """One function cuts its derivative, as a number computed outside of the array library does."""

    where = ""

    def cut(self, function, x):
        return x.detach() if function == self.where else x

    def control(self, xp, action):
        return (self.strength * self.cut("control", action),)

    def advance(self, xp, action, task):
        return self.cut("advance", action)

    def observe(self, xp, physics, task):
        return self.cut("observe", super().observe(xp, physics, task))

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        effort = self.cut("reward", xp.sum(next_physics.qd**2, axis=1))
        return super().reward(xp, physics, action, next_physics, next_obs, task) - effort


@pytest.mark.parametrize("where", FUNCTIONS)
def test_a_derivative_that_is_cut_is_named_by_function(where):
    task = type("Task", (Cut,), {"where": where})(dtype="float64")
    report = check_gradients(TaskEnv(task, 4, arrays="torch", dtype="float64"))
    assert report.max_rel_error > 1e-3
    words = rf"the derivative of {where} along a direction of \S+ is \S+, and differences give \S+ \(world \d\): .*"
    assert report.faults and all(re.fullmatch(words, fault) for fault in report.faults)


def test_a_wrong_simulator_is_named():
    class Wrong(PendulumDynamics):
        def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
            super().vjp(state, control, ok, saved, out_cotangent, in_cotangent)
            in_cotangent[1].array().numpy()[:] *= 1.01

    task = Pendulum(dtype="float64")
    task.dynamics = Wrong("float64")
    report = check_gradients(TaskEnv(task, 4, arrays="torch", dtype="float64"))
    assert report.faults[0].startswith("the derivative of the simulator's step along a direction of physics.qd is ")


def test_right_derivatives_have_no_faults():
    env = make_pendulum(8, dtype="float64")
    state, _ = env.reset(0)
    assert derivative_faults(env, state, torch.full((8, 2), 0.3, dtype=torch.float64)) == []
    assert check_gradients(env).faults == ()


def fails(*_):
    raise KeyError("a mistake")


EVERY = ["initial", "control", "advance", "observe", "reward", "terminated", "metrics"]
LINE = inspect.getsourcelines(fails)[1] + 1


@pytest.mark.parametrize("function", EVERY)
def test_an_error_of_the_task_is_a_line_of_the_report(function):
    cls = type("Task", (Pendulum,), {function: fails})

    def make(num_envs, dtype="float32"):
        return TaskEnv(cls(dtype=dtype), num_envs, arrays="torch", dtype=dtype)

    report = check_task(make, num_envs=4, horizon=2, rollout_envs=2)
    assert not report.ok and report.gradients is None and report.rollout is None and not report.deterministic
    place = rf"KeyError: 'a mistake' \(test_check_points.py, line {LINE}, in fails\)"
    assert all(re.search(place, violation) for violation in report.violations)
    assert all("\n" not in violation for violation in report.violations)
    found = json.loads(json.dumps(report.to_json()))
    assert found["ok"] is False and found["max_rel_error"] is None and found["diverged"] is None
    with pytest.raises(CheckError, match=place):
        check_env(make(4))


def test_an_error_of_one_late_step_spares_the_other_checks():
    class Late(TaskEnv):
        def step(self, state, action):
            if bool((state.t >= 5).any()):
                raise ZeroDivisionError("too late")
            return super().step(state, action)

    with pytest.raises(
        CheckError, match=r"ZeroDivisionError: too late .*; this was not tested: The same seed"
    ) as caught:
        check_env(Late(Pendulum(), 4, arrays="torch"), num_steps=7)
    assert not any("clip" in violation for violation in caught.value.violations)


def test_differences_that_disagree_everywhere_are_a_line_of_the_report():
    """A reward with a switch near every state: nothing can be compared, and that is what the report says."""
    jumps = staticmethod(lambda xp, x: 1e-3 * xp.sin(1e9 * (x + 1.0)))
    report = check_task(maker(where="reward", change=jumps), num_envs=4, horizon=2, rollout_envs=2)
    assert report.gradients is None and any("differences disagree" in violation for violation in report.violations)


def test_a_mistake_at_every_step_is_said_once():
    class Loud(TaskEnv):
        def step(self, state, action):
            state, row = super().step(state, action)
            return state, row._replace(obs=row.obs + 1)

    with pytest.raises(CheckError) as caught:
        check_env(Loud(Pendulum(), 4, arrays="torch"))
    assert [violation for violation in caught.value.violations if "obs differs" in violation] == [
        "at step 0: obs differs from final_obs in a world that is not done"
    ]


def test_a_list_of_problems_stays_a_list_in_one_line():
    error = ModelError("robot.xml", ["no mass\n here", "no joint"])
    assert one_line(str(error)) == "robot.xml: 2 problems: (1) no mass here; (2) no joint"
    assert one_line("model 'a': \n  - one\n  - two") == "model 'a': (1) one; (2) two"
    assert one_line("a\n  line") == "a line"
