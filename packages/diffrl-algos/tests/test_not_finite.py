"""Training says what of a task is not finite: an observation by its entry, a reward; not only that worlds diverged."""

from __future__ import annotations

import io

import pytest
import torch

from diffrl_algos import train
from diffrl_algos._callbacks import ProgressLine
from diffsim_core import TaskEnv

from . import toy
from .test_family import NAMES, build


class Broken(toy.PointTask):
    """Some worlds give an observation, or a reward, that is not a number."""

    name, obs_names = "broken", ("place", "speed [m/s]")

    def __init__(self, where):
        super().__init__("float32", 1e9, 20, 1e6)
        self.where = where

    def observe(self, xp, physics, task):
        obs = super().observe(xp, physics, task)
        bad = xp.where(physics.x > 0.2, xp.nan * physics.v, physics.v)
        return xp.concat([physics.x, bad], axis=1) if self.where == "observe" else obs

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        good = 1.0 - next_physics.x[:, 0] ** 2
        return xp.where(physics.x[:, 0] > 0.2, xp.nan * good, good) if self.where == "reward" else good


def said(name, where):
    out = io.StringIO()
    env = TaskEnv(Broken(where), 8, arrays="torch")
    result = train(build(name), env, callbacks=[ProgressLine(out)], seed=1, stop_after=2)
    return result, out.getvalue()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("trajopt", "pods")])
def test_an_observation_is_named_by_its_entry(name):
    """Not of algorithms whose actions do not depend on observations: there it breaks no world."""
    result, text = said(name, "observe")
    line = "the observation is not finite: entry 1 (speed [m/s]); find out where: diffrl check broken"
    assert result.metrics["diverged"] > 0 and text.count(line) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_reward_is_named(name):
    result, text = said(name, "reward")
    assert text.count("the reward is not finite; find out where: diffrl check broken") == 1
    assert result.metrics["rewards_not_finite"] > 0 and result.metrics["diverged"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_simulator_that_diverges_is_not_blamed_on_the_task(name):
    out = io.StringIO()
    env = TaskEnv(toy.make_task(num_envs=8, device="cpu", dtype="float32", breaks=0.5), 8, arrays="torch")
    result = train(build(name), env, callbacks=[ProgressLine(out)], seed=1, stop_after=2)
    assert result.metrics["diverged"] > 0 and "not finite" not in out.getvalue()
    assert "rewards_not_finite" not in result.metrics
    assert torch.isfinite(env.reset(0)[1]).all()
