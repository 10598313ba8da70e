"""What an environment hands out may be changed in place: later steps are the same ones."""

from __future__ import annotations

import pytest
import torch

from diffsim_core import list_tasks, make
from diffsim_core._tree import tree_leaves

from .pendulum import Pendulum, make_pendulum

pytestmark = pytest.mark.usefixtures("both_ways")


def spoil(tree):
    for _, leaf in tree_leaves(tree):
        if leaf.dtype is torch.bool:
            leaf.logical_not_()
        else:
            leaf.mul_(3).add_(7)


def play(env, in_place, steps=6):
    """Rewards and ends, copied before anything is changed."""
    state, obs = env.reset(0)
    seen = []
    for _ in range(steps):
        if in_place:
            spoil(obs)
        action = torch.full((env.num_envs, env.spec.num_actions), 0.3)
        state, step = env.step(state, action)
        seen.append([part.clone() for part in (step.reward, step.terminated, step.truncated, step.diverged)])
        obs = step.obs
        if in_place:
            spoil([action, step.final_obs, *seen_parts(step)])
    return seen


def seen_parts(step):
    return [step.reward, step.terminated, step.truncated, step.diverged, *step.metrics.values()]


def assert_same(make_env):
    for whole, spoilt in zip(play(make_env(), False), play(make_env(), True), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(whole, spoilt, strict=True))


TASKS = [name for name in list_tasks() if not name.startswith(("newton_", "humanoid"))]


@pytest.mark.parametrize("name", TASKS)
def test_tasks(name):
    pytest.importorskip("warp")
    assert_same(lambda: make(name, num_envs=2))


def test_environments_of_gymnasium():
    pytest.importorskip("gymnasium")
    assert_same(lambda: make("gym:Pendulum-v1", num_envs=2, max_episode_steps=4))


@pytest.mark.parametrize("horizon", [3, 100])
def test_a_task_that_shows_its_state_itself(monkeypatch, horizon):
    """Views, a mapping of them, and the task's memory."""
    shown = {
        "a view": lambda physics, task: physics.q,
        "the memory": lambda physics, task: task,
        "a part": lambda physics, task: physics.qd[:, :2].reshape(-1, 2),
    }
    for show in shown.values():
        monkeypatch.setattr(Pendulum, "num_obs", 2)
        monkeypatch.setattr(Pendulum, "observe", lambda self, xp, physics, task, show=show: show(physics, task))
        monkeypatch.setattr(
            Pendulum, "reward", lambda self, xp, p, a, physics, obs, task: physics.q.sum(1) + task.sum(1)
        )
        assert_same(lambda: make_pendulum(2, horizon=horizon))
