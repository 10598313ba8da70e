"""PPO: an update once more, slowly; no gradient of the simulator; rates that follow the divergence."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrl_algos import PPOConfig
from diffrl_algos.torch import PPO
from diffrl_algos.torch._distributions import Gaussian
from diffrl_algos.torch._normalize import value_units
from diffrl_algos.torch._schedules import adapt_to_divergence

from .learning import before_and_after

SMALL = {
    "iterations": 10,
    "horizon": 8,
    "actor_hidden": (16, 8),
    "critic_hidden": (16,),
    "actor_iterations": 3,
    "actor_minibatches": 3,
}


def test_an_update_is_the_papers(worlds):
    """Rollout, generalised advantages in loops, clipped surrogate by torch's optimiser; the same figures and bits."""
    c = PPOConfig(**SMALL, clip=0.02, entropy_coef=0.1, actor_lr=5e-3)
    algorithm = PPO(c)
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 2))
    new, metrics = algorithm.update(state)

    n, steps, env = 6, 8, state.env
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    eps = torch.randn(steps, n, 1, generator=generator, dtype=torch.float64)
    policy, mean, std = algorithm.policy(state), state.value_stats.mean, (state.value_stats.var + 1e-5).sqrt()

    def act(flat, x):
        return policy.actor(policy.actor.split(flat), x)

    def value(obs):
        w, b, scale, shift, v, d = state.critic.split([32, 16, 16, 16, 16, 1])
        h = torch.nn.functional.silu(policy_x(obs) @ w.view(16, 2).T + b)
        h = torch.nn.functional.layer_norm(h, (16,), scale, shift)
        return (mean + std * (h @ v + d)).detach()

    def policy_x(obs):
        return policy.normalize(obs)

    env_state, obs = state.run.env_state, state.run.obs
    xs, us, rewards, values, nexts, terms, dones = [], [], [], [], [], [], []
    for t in range(steps):
        xs.append(policy_x(obs))
        g = act(state.actor, xs[-1])
        us.append(g.mean + eps[t] * g.logstd.exp())
        values.append(value(obs))
        env_state, step = env.step(env_state, torch.tanh(us[-1]))
        rewards.append(step.reward)
        nexts.append(value(step.final_obs))
        terms.append(step.terminated)
        dones.append(step.terminated | step.truncated)
        obs = step.obs
    advantage = torch.zeros(steps, n, dtype=torch.float64)
    for i in range(n):
        ahead = 0.0
        for t in reversed(range(steps)):
            follows = 0.0 if terms[t][i] else nexts[t][i]
            delta = rewards[t][i] + c.gamma * follows - values[t][i]
            ahead = delta + (0.0 if dones[t][i] else c.gamma * c.lam * ahead)
            advantage[t, i] = ahead
    target = advantage + torch.stack(values)
    assert metrics["value_mean"] == pytest.approx(target.mean().item(), rel=1e-9)

    x, u = torch.cat(xs), torch.cat(us)
    old = act(state.actor, x)
    log_prob_old = old.log_prob(u)
    scaled = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).flatten()
    actor = state.actor.clone().requires_grad_()
    lr = float(state.adapted_lr)
    optimiser = torch.optim.AdamW([actor], lr=lr, betas=c.betas, weight_decay=c.weight_decay)
    moments = {"step": torch.tensor(float(state.actor_adam.step))}
    moments |= {"exp_avg": state.actor_adam.m.clone(), "exp_avg_sq": state.actor_adam.v.clone()}
    optimiser.state[actor] = moments
    kl = 0.0
    for _ in range(c.actor_iterations):
        for rows in torch.randperm(n * steps, generator=generator).split(16):
            g = act(actor, x[rows])
            ratio = torch.exp(g.log_prob(u[rows]) - log_prob_old[rows])
            a = scaled[rows]
            surrogate = torch.minimum(ratio * a, ratio.clamp(0.98, 1.02) * a).mean()
            entropy = (g.logstd + 0.5 * math.log(2 * math.pi * math.e)).sum()
            optimiser.zero_grad()
            (-surrogate - 0.1 * entropy).backward()
            torch.nn.utils.clip_grad_norm_([actor], c.max_grad_norm)
            optimiser.param_groups[0]["lr"] = lr
            optimiser.step()
        with torch.no_grad():
            after = act(actor, x)
            p, q = (torch.distributions.Normal(g.mean, g.logstd.exp()) for g in (old, after))
            kl = torch.distributions.kl_divergence(p, q).sum(-1).mean().item()
        lr = lr / 1.5 if kl > 0.016 else lr * 1.5 if kl < 0.004 else lr
    torch.testing.assert_close(new.actor, actor.detach(), rtol=1e-7, atol=1e-9)
    assert metrics["kl"] == pytest.approx(kl, rel=1e-6)
    assert float(new.adapted_lr) == pytest.approx(lr)
    assert metrics["clipped"] > 0
    stats = state.value_stats.update(target.reshape(-1, 1))
    assert torch.allclose(new.value_stats.mean, stats.mean) and torch.allclose(new.value_stats.var, stats.var)


def test_no_gradient_of_the_environment_is_asked_for(worlds):
    """It runs where there is none, and leaves no graph where there is one."""
    env = worlds()
    env.spec = dataclasses.replace(env.spec, differentiable=False)
    seen = []

    class Watched:
        spec, num_envs = env.spec, env.num_envs

        def reset(self, seed):
            return env.reset(seed)

        def step(self, state, action):
            state, step = env.step(state, action)
            seen.append(action.requires_grad or step.reward.requires_grad)
            return state, step

    algorithm = PPO(PPOConfig(**SMALL))
    algorithm.update(algorithm.init(Watched(), 0))
    assert len(seen) == 8 and not any(seen)


def test_values_in_units_of_their_statistics_or_not(worlds):
    plain = PPO(PPOConfig(**SMALL, normalize_value=False))
    state, _ = plain.update(plain.init(worlds(), 0))
    assert value_units(state.value_stats, state.run.obs, False) == (0.0, 1.0)
    mean, std = value_units(state.value_stats, state.run.obs, True)
    assert mean == state.value_stats.mean.float() and std**2 == pytest.approx(float(state.value_stats.var) + 1e-5)
    scaled = PPO(PPOConfig(**SMALL))
    other, _ = scaled.update(scaled.init(worlds(), 0))
    assert not torch.equal(state.critic, other.critic)


@pytest.mark.parametrize("adaptive", [False, True])
def test_learning_rates(worlds, adaptive):
    algorithm = PPO(PPOConfig(**SMALL, adaptive_lr=adaptive, kl_target=1e-9))
    state, metrics = algorithm.init(worlds(), 0), []
    for _ in range(3):
        state, figures = algorithm.update(state)
        metrics.append(figures["actor_lr"])
    shrunk = [5e-4 * 1.5 ** (-3 * k) for k in range(3)]
    linear = [5e-4 + (1e-5 - 5e-4) * k / 10 for k in range(3)]
    assert metrics == pytest.approx(shrunk if adaptive else linear)


@given(st.floats(1e-6, 1e-2), st.floats(0.0, 1.0), st.floats(1e-4, 0.1))
def test_the_rate_follows_the_divergence_within_limits(lr, kl, target):
    new = adapt_to_divergence(lr, kl, target)
    assert 1e-6 <= new <= 1e-2
    if kl > 2 * target:
        assert new == max(lr / 1.5, 1e-6)
    elif kl < target / 2:
        assert new == min(lr * 1.5, 1e-2)
    else:
        assert new == lr


def test_a_divergence_that_is_not_a_number_is_too_far():
    assert adapt_to_divergence(1e-3, math.nan, 0.01) == 1e-3 / 1.5


def test_squashing_changes_neither_ratios_nor_divergences():
    """Why the densities before tanh will do."""
    g = torch.Generator().manual_seed(0)
    mean, other, logstd, u = (torch.randn(9, 3, generator=g, dtype=torch.float64) for _ in range(4))
    p, q = Gaussian(mean, logstd), Gaussian(other, logstd.flip(0))
    torch.testing.assert_close(p.log_prob(u) - q.log_prob(u), p.squashed_log_prob(u) - q.squashed_log_prob(u))


def test_attempts_take_back_passes_that_do_harm(worlds):
    """A rate of 1e9 does; the policy stays, and the next window begins with a rate 1.5 times less."""
    algorithm = PPO(PPOConfig(**SMALL, adaptive_lr=False, attempts=3, actor_lr=1e9))
    state = algorithm.init(worlds(), 0)
    new, metrics = algorithm.update(state)
    assert torch.equal(new.actor, state.actor) and metrics["refused_updates"] == 0
    assert float(new.adapted_lr) == pytest.approx(1e9 / 1.5)
    assert not torch.equal(new.critic, state.critic)
    gentle = PPO(PPOConfig(**SMALL, adaptive_lr=False, attempts=3, actor_lr=1e-4))
    plain = PPO(PPOConfig(**SMALL, adaptive_lr=False, lr_schedule="constant", actor_lr=1e-4))
    one, other = (algorithm.update(algorithm.init(worlds(), 0))[0] for algorithm in (gentle, plain))
    assert torch.equal(one.actor, other.actor) and float(one.adapted_lr) == 1e-4
    with pytest.raises(ValueError, match="attempts is 2; it must be 1 with adaptive_lr"):
        PPOConfig(attempts=2)


@pytest.mark.parametrize("wrong", [{"actor_iterations": 0}, {"clip": 0.0}, {"kl_target": 0.0}, {"entropy_coef": -1.0}])
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        PPOConfig(**wrong)


def test_learns_to_control_a_point_mass(worlds):
    config = PPOConfig(iterations=70, horizon=20, actor_hidden=(32,), critic_hidden=(32,), actor_lr=3e-3)
    env = worlds(num_envs=64, limit=10.0, horizon=40)
    untrained, trained, _ = before_and_after(PPO(config), env, episodes=64)
    assert untrained < 20.0 < 36.0 < trained < 40.0
