"""Observations that are a mapping of arrays: the same worlds, resets and gradients as one vector of all of them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffsim_core import TaskEnv, rollout
from diffsim_core.adapters._driver import Driver
from diffsim_core.check import CheckError, check_env, check_gradients

from .pendulum import Pendulum


class Points(Pendulum):
    """The pendulum, which sees where its two bobs are, as points in space, beside its rates and its last action."""

    name = "points"
    num_obs = 10
    obs_shapes = {"points": (2, 3), "state": (4,)}  # noqa: RUF012

    def observe(self, xp, physics, task):
        bobs = xp.stack([xp.sin(physics.q), xp.zeros_like(physics.q), -xp.cos(physics.q)], axis=2)
        return {"points": bobs, "state": xp.concat([0.1 * physics.qd, task], axis=1)}

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return xp.sum(next_obs["points"][:, :, 2], axis=1) - 0.01 * xp.sum(next_obs["state"] ** 2, axis=1)


class Flat(Points):
    """The same as one vector."""

    name = "flat"
    obs_shapes = {}  # noqa: RUF012

    def observe(self, xp, physics, task):
        obs = Points.observe(self, xp, physics, task)
        return xp.concat([xp.reshape(obs["points"], (-1, 6)), obs["state"]], axis=1)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        obs = {"points": xp.reshape(next_obs[:, :6], (-1, 2, 3)), "state": next_obs[:, 6:]}
        return Points.reward(self, xp, physics, action, next_physics, obs, task)


def make(task=Points, num_envs=8, arrays="torch", dtype="float32", **options):
    return TaskEnv(task(dtype=dtype, **options), num_envs, arrays=arrays, dtype=dtype)


def flattened(obs):
    return torch.cat([obs["points"].flatten(-2), obs["state"]], dim=-1)


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_keeps_every_promise(arrays):
    env = make(arrays=arrays)
    assert env.spec.obs_shapes == {"points": (2, 3), "state": (4,)}
    assert len(check_env(env, fewer=make(num_envs=3, arrays=arrays))) == 8


def test_gradients_equal_differences():
    assert check_gradients(make(num_envs=4, dtype="float64"), warmup=10).max_rel_error < 1e-6


def test_worlds_are_those_of_the_vector():
    """Through terminations, time limits and a diverged world."""
    seen, gradients = [], []
    for task in (Points, Flat):
        env = make(task, num_envs=16, fall=3.0)
        w = torch.linspace(-1, 1, 20).view(10, 2).requires_grad_()
        state, obs = env.reset(5)
        state = state._replace(
            physics=state.physics._replace(qd=state.physics.qd.index_fill(0, torch.tensor([3]), 1e9))
        )
        window, _, last = rollout(
            env, lambda o, w=w: torch.tanh((flattened(o) if isinstance(o, dict) else o) @ w), state, obs, 30
        )
        assert window.diverged.any() and window.terminated.any() and window.truncated.any()
        total = window.reward.mean()
        parts = (window.obs, window.final_obs, last)
        if task is Points:
            assert window.final_obs["points"].shape == (30, 16, 2, 3)
            parts = tuple(flattened(part) for part in parts)
        total = total + parts[1].mean()
        total.backward()
        seen.append((window.reward.detach(), *(part.detach() for part in parts)))
        gradients.append(w.grad)
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_torch_and_jax_agree():
    w = np.linspace(-1, 1, 8).reshape(4, 2).astype(np.float32)
    on_torch, on_jax = make(fall=3.0), make(arrays="jax", fall=3.0)
    a, *_ = rollout(on_torch, lambda obs: torch.tanh(obs["state"] @ torch.tensor(w)), *on_torch.reset(3), 20)

    @jax.jit
    def run():
        return rollout(on_jax, lambda obs: jnp.tanh(obs["state"] @ w), *on_jax.reset(3), 20)[0]

    b = run()
    np.testing.assert_allclose(a.final_obs["points"], b.final_obs["points"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(a.reward, b.reward, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"obs_shapes": {}}, "a mapping of points, state; the task must give their obs_shapes"),
        (
            {"obs_shapes": {"points": (2, 3), "rest": (4,)}},
            "of points, state; expected a mapping of points, rest",
        ),
        (
            {"obs_shapes": {"points": (3, 3), "state": (4,)}},
            r"returned points of shape .* expected \(8, 3, 3\)",
        ),
        ({"num_obs": 9}, "num_obs of task 'points' is 9; its obs_shapes hold 10"),
    ],
)
def test_specifications_that_do_not_fit_are_refused(changes, words):
    env = make(type("Wrong", (Points,), changes))
    with pytest.raises(ValueError, match=words):
        env.reset(0)


def test_a_vector_where_a_mapping_was_promised_is_refused():
    env = make(type("Wrong", (Flat,), {"obs_shapes": Points.obs_shapes}))
    with pytest.raises(ValueError, match=r"a torch array of shape \(8, 10\); expected a mapping of points, state"):
        env.reset(0)


def test_adapters_refuse_several_arrays():
    with pytest.raises(ValueError, match="'points' observes points, state; the adapters take one vector"):
        Driver(make())


class Spoilt(TaskEnv):
    """An environment whose observations are changed on the way out."""

    def __init__(self, change):
        super().__init__(Points(), 8, arrays="torch")
        self.change = change

    def step(self, state, action):
        state, step = super().step(state, action)
        return state, step._replace(obs=self.change(step.obs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda obs: {**obs, "points": obs["points"] + 1}, "obs.points differs from final_obs.points"),
        (lambda obs: {**obs, "points": obs["points"][:, :1]}, "obs.points has shape"),
        (lambda obs: {**obs, "state": obs["state"].double()}, "obs.state has shape .* float64"),
    ],
)
def test_the_checks_name_the_array(change, words):
    with pytest.raises(CheckError, match=words):
        check_env(Spoilt(change))


def test_the_checks_know_which_arrays_there_should_be():
    env = Spoilt(lambda obs: obs)
    env._returned.check = lambda *_: None  # what another environment may not look at
    env.spec = dataclasses.replace(env.spec, obs_shapes={"points": (2, 3)})
    with pytest.raises(CheckError, match=r"obs.state is not expected"):
        check_env(env)
