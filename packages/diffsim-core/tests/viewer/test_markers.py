"""Markers of a task: where its state says, in pages and in recordings of every kind."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import TaskEnv, make  # noqa: E402
from diffsim_core.tasks import RigidTask  # noqa: E402
from diffsim_core.viewer import Marker, Recorder, motion_of, record, write_html  # noqa: E402


class Reach(RigidTask):
    """A cartpole with a place that moves on by 1 m a step and is drawn anew in each episode."""

    name = "reach"
    places = (3,)

    def initial(self, xp, random):
        return (random.constant([0.0, 0.0]), random.constant([0.0, 0.0])), {"goal": random.uniform(1, (3,), -1.0, 1.0)}

    def advance(self, xp, action, task):
        return {"goal": task["goal"] + 1.0}

    def observe(self, xp, physics, task):
        return xp.concat([physics.q, task["goal"]], axis=1)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return physics.q[:, 0]

    def markers(self, xp, physics, task):
        ball = Marker(task["goal"] * xp.ones_like(physics.q[:, :1]), radius=0.1, rgba=(0, 1, 0, 1))
        return {"goal": ball, "cart": xp.concat([physics.q, physics.q[:, :1]], axis=1)}


@pytest.fixture
def env():
    dynamics = make("cartpole", num_envs=1).task.dynamics
    return TaskEnv(Reach(dynamics, episode_length=4, obs_names=("q",) * 5), 3, arrays="torch")


def act(obs):
    return 0.1 + 0 * obs[:, :1]


def test_markers_are_where_the_task_says(env, tmp_path):
    motion = record(env, act, steps=6, seed=3)
    assert motion.bodies[-2:] == ("goal", "cart")
    first, second = motion.shapes[-2:]
    assert (first.type, first.size, first.rgba) == ("sphere", (0.1, 0.1, 0.1), (0.0, 1.0, 0.0, 1.0))
    assert [shape.body for shape in (first, second)] == [len(motion.bodies) - 2, len(motion.bodies) - 1]
    state, obs = env.reset(3)
    for t in range(6):
        np.testing.assert_allclose(motion.position[t, :, -2], state.task["goal"], atol=1e-6)
        np.testing.assert_allclose(motion.position[t, :, -1, :2], state.physics.q, atol=1e-6)
        state, _ = env.step(state, act(obs))
    assert abs(motion.position[3, :, -2] - motion.position[4, :, -2]).max() > 1.5, "a new episode has a new goal"
    assert (motion.quaternion[..., -2:, :] == [1, 0, 0, 0]).all()
    write_html(motion, tmp_path / "it.html")
    motion.save(tmp_path / "it.npz")


def test_where_the_state_of_the_task_is_not_known_nothing_is_marked(env):
    recorder = Recorder(env, 2)
    state, obs = env.reset(0)
    _, transition = env.step(state, act(obs))
    recorder.add(state, act(obs), transition)
    footage = recorder.footage()
    assert len(recorder.motion().bodies) == len(motion_of(env, footage.physics, footage.action).bodies) + 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (lambda goal: goal[:, :2], r"marker 'goal' of task 'reach' has positions of shape \(6, 2\).*: \(6, 3\)"),
        (lambda goal: goal[0], r"positions of shape \(3,\)"),
        (lambda goal: np.where(goal > 0.0, np.nan, goal), "must be finite"),
    ],
)
def test_markers_that_are_no_places_are_refused(env, monkeypatch, place, words):
    monkeypatch.setattr(Reach, "markers", lambda self, xp, physics, task: {"goal": place(task["goal"])})
    with pytest.raises(ValueError, match=words):
        record(env, act, steps=2, seed=3)
