"""``check_task`` compares steps in one operation with separate ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diffsim_core import TaskEnv
from diffsim_core._check_fused import check_fused
from diffsim_core._traced import OPS

from ..pendulum import Pendulum, make_pendulum


def test_both_ways_agree():
    assert check_fused(make_pendulum, num_envs=5, seed=1) == (True, "", [])


def test_a_task_that_cannot_be_traced_breaks_no_promise():
    class Sorted(Pendulum):
        def observe(self, xp, physics, task):
            return xp.sort(super().observe(xp, physics, task), axis=1)

    def make(num_envs, dtype):
        return TaskEnv(Sorted(dtype=dtype), num_envs, arrays="torch", dtype=dtype)

    fused, because, violations = check_fused(make, num_envs=5, seed=1)
    assert fused is False and "observe uses xp.sort (test_check.py" in because and not violations


@pytest.mark.parametrize("wrong", [{"code": "number(T(1.001)) * {0} * {1}"}, {"pull": lambda b, g, node: [g, g]}])
def test_compiled_code_that_differs_does(wrong, monkeypatch):
    monkeypatch.setitem(OPS, "*", replace(OPS["*"], **wrong))
    fused, because, violations = check_fused(make_pendulum, num_envs=5, seed=1)
    assert fused is False and len(violations) == 2 and because == "; ".join(violations)
    assert all("between compiled code and the task's own" in violation for violation in violations)


def test_other_environments_are_left_alone():
    assert check_fused(lambda num_envs, dtype: make_pendulum(num_envs, "jax"), num_envs=5, seed=1) == (None, "", [])
