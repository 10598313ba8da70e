"""SHAC against a slow twin, and against the best there is on a point mass."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from diffrl_algos import PPOConfig, SHACConfig, evaluate, train
from diffrl_algos.torch import PPO, SHAC
from diffsim_core import make

from .learning import POINT_MASS
from .naive_shac import NaiveSHAC


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


@pytest.mark.parametrize("shuffle", [False, True])
def test_updates_equal_a_slow_twin(worlds, small, shuffle):
    small = dataclasses.replace(small, critic_shuffle=shuffle)
    algorithm = SHAC(small)
    state = algorithm.init(worlds(dtype="float64"), seed=3)
    twin = NaiveSHAC(small, state)
    finished = 0
    for _ in range(4):
        state, metrics = algorithm.update(state)
        twin.update()
        actor = torch.cat([parameters_to_vector(twin.actor.parameters()), twin.logstd])
        torch.testing.assert_close(state.actor, actor.detach(), rtol=1e-7, atol=1e-9)
        for mine, theirs in ((state.critic, twin.critic), (state.target, twin.target)):
            torch.testing.assert_close(mine, parameters_to_vector(theirs.parameters()).detach(), rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(state.run.stats.mean, twin.mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(state.run.stats.var, twin.var, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(state.run.obs, twin.obs, rtol=1e-7, atol=1e-9)
        finished = metrics["episodes"]
    # Several segments in a window, some of them ended by the task and not by time.
    assert finished > 4 * 6 * 8 / 5


def test_statistics_are_frozen_in_a_window(worlds, small):
    algorithm = SHAC(dataclasses.replace(small, horizon=4, lr_end=0.0, logstd_init=-20.0))
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    seen = []

    class Watched:
        def __init__(self, env):
            self.env, self.spec, self.num_envs = env, env.spec, env.num_envs

        def step(self, env_state, action):
            env_state, step = self.env.step(env_state, action)
            seen.append((action.detach(), step.obs.detach()))
            return env_state, step

    before = state
    after, _ = algorithm.update(state.replace(run=state.run._replace(env=Watched(state.env))))
    policy = algorithm.policy(before)
    obs = before.run.obs
    for action, next_obs in seen:
        torch.testing.assert_close(action, policy(obs), rtol=1e-6, atol=1e-6)
        obs = next_obs
    everything = torch.cat([before.run.obs, *(o for _, o in seen[:-1])])
    expected = before.run.stats.update(everything)
    torch.testing.assert_close(after.run.stats.mean, expected.mean, rtol=1e-12, atol=0)
    assert after.run.stats.weight == before.run.stats.weight + len(everything)


def test_learning_rates_fall_linearly_and_stay_at_the_end(worlds, small):
    algorithm = SHAC(dataclasses.replace(small, iterations=4))
    _, metrics = run(algorithm, algorithm.init(worlds(), 0), 6)
    expected = [2e-3 + (1e-5 - 2e-3) * f for f in (0, 0.25, 0.5, 0.75, 1, 1)]
    np.testing.assert_allclose([m["actor_lr"] for m in metrics], expected)
    constant = SHAC(dataclasses.replace(small, lr_schedule="constant"))
    _, metrics = run(constant, constant.init(worlds(), 0), 2)
    assert [m["actor_lr"] for m in metrics] == [2e-3, 2e-3]


def test_policies(worlds, small):
    algorithm = SHAC(small)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    mean = algorithm.policy(state)
    assert torch.equal(mean(state.run.obs), mean(state.run.obs))
    assert not mean(state.run.obs).requires_grad and mean(state.run.obs).abs().max() <= 1
    one, same, other = (algorithm.policy(state, deterministic=False, seed=s)(state.run.obs) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    # Undo tanh: the spread around the mean is sigma.
    wide = state.run.obs.repeat(4000, 1)
    noise = torch.atanh(algorithm.policy(state, deterministic=False)(wide)) - torch.atanh(mean(wide))
    assert noise.std().item() == pytest.approx(state.actor[-1].exp().item(), rel=0.02)


def lqr_return(returns_of, horizon):
    """Return of the best linear controller without limits on the force: an upper bound, from Riccati's recursion."""
    dt, gain = 0.1, 2.0
    a = np.array([[1.0, dt], [0.0, 1.0]])
    b = np.array([[dt * dt * gain], [dt * gain]])
    q, r = np.diag([1.0, 0.1]), np.array([[0.01]])
    p = np.zeros((2, 2))
    for _ in range(horizon):
        # Cost of a step is x'Qx of the state it leads to, plus u'Ru.
        m = q + p
        k = np.linalg.solve(r + b.T @ m @ b, b.T @ m @ a)
        p = (a - b @ k).T @ m @ (a - b @ k) + k.T @ r @ k
    return horizon - np.einsum("ni,ij,nj->n", returns_of, p, returns_of)


def test_learns_to_control_a_point_mass(worlds):
    """From the middle of a bad start to within a few percent of the unlimited optimum, in 60 updates."""
    config = SHACConfig(**POINT_MASS, target_alpha=0.2)
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    algorithm = SHAC(config)
    start = algorithm.init(env, 0)
    result = train(algorithm, env, state=start)
    _, first = env.reset(99)
    best = lqr_return(first.double().numpy(), 40).mean()
    untrained = evaluate(env, algorithm.policy(start), episodes=32, seed=99).return_mean
    trained = evaluate(env, algorithm.policy(result.state), episodes=32, seed=99).return_mean
    assert untrained < best - 5
    assert best - 0.6 < trained <= best + 1e-3


def test_a_window_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("diffsim_core._memory.free_bytes", lambda device: 1000)
    env = make("cartpole", num_envs=4)
    with pytest.raises(ValueError, match=r"num_envs=4 and horizon=8: .* use fewer worlds"):
        SHAC(SHACConfig(horizon=8)).init(env, 0)
    PPO(PPOConfig(horizon=8)).init(env, 0)  # keeps nothing
