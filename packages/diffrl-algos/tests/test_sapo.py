"""SAPO: with every design choice taken back it is SHAC; each choice does what the paper says; it learns."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from diffrl_algos import SAPOConfig, SHACConfig
from diffrl_algos.torch import SAPO, SHAC
from diffrl_algos.torch._distributions import Gaussian
from diffrl_algos.torch._return_scale import ReturnScale

from .learning import POINT_MASS, before_and_after

SMALL = {"iterations": 10, "horizon": 8, "actor_hidden": (16, 8), "critic_hidden": (16,), "critic_iterations": 2}
SHACS = {
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "activation": "elu",
    "init_gain": math.sqrt(2.0),
    "actor_init": "uniform",
    "state_dependent_std": False,
    "logstd_init": -1.0,
    "num_critics": 1,
    "target_alpha": 0.3,
    "actor_entropy": False,
    "soft_value": False,
}


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


def test_with_every_choice_taken_back_it_is_shac(worlds):
    shac = SHAC(SHACConfig(**SMALL, target_alpha=0.3))
    sapo = SAPO(SAPOConfig(**SMALL, **SHACS))
    mine, _ = run(sapo, sapo.init(worlds(), 3), 4)
    theirs, _ = run(shac, shac.init(worlds(), 3), 4)
    for name in ("actor", "critic", "target"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    assert torch.equal(mine.run.obs, theirs.run.obs) and torch.equal(mine.run.rng, theirs.run.rng)


def test_objective_targets_and_temperature_are_the_papers(worlds):
    """The first update once more, in float64, with loops over worlds and the formulas of Algorithm 1."""
    c = SAPOConfig(**SMALL, critic_minibatches=1, critic_shuffle=False)
    c = dataclasses.replace(c, critic_iterations=1)
    algorithm = SAPO(c)
    state = algorithm.init(worlds(dtype="float64"), 4)
    new, metrics = algorithm.update(state)

    actor = state.actor.clone().requires_grad_()
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    n, steps = state.env.num_envs, c.horizon
    eps = torch.randn(steps, n, 1, generator=generator, dtype=torch.float64)
    policy = algorithm.policy(state)
    heads = policy.actor.mlp.split
    critics = state.critic.view(2, -1)
    value = [lambda x, p=p: _value(c, p, x) for p in critics]
    env_state, obs = state.run.env_state, state.run.obs
    alpha, target = 1.0, -0.5
    rewards, bonuses, means, lows, ends, terms, seen = [], [], [], [], [], [], []
    entropy_sum = 0.0
    for t in range(steps):
        # Observations are not normalised yet: mean 0, variance 1.
        x = obs / math.sqrt(1 + 1e-5)
        mean, logstd = policy.actor.mlp(heads(actor), x).chunk(2, dim=-1)
        logstd = logstd.clamp(-5, 2)
        u = mean + eps[t] * logstd.exp()
        action = torch.tanh(u)
        log_p = Gaussian(mean, logstd).log_prob(u) - torch.log1p(-action.square()).sum(-1)
        seen.append(x.detach())
        env_state, step = state.env.step(env_state, action)
        entropy_sum = entropy_sum - log_p.detach().sum()
        rewards.append(step.reward)
        bonuses.append((-log_p + abs(target)) / (2 * abs(target)))
        both = torch.stack([v(step.final_obs / math.sqrt(1 + 1e-5)) for v in value])
        means.append(both.mean(0))
        lows.append(both.min(0).values.detach())
        terms.append(step.terminated)
        ends.append(step.terminated | step.truncated)
        obs = step.obs
    loss = 0.0
    targets = torch.zeros(steps, n, dtype=torch.float64)
    for i in range(n):
        total, discount = 0.0, 1.0
        for t in range(steps):
            total = total + discount * (rewards[t][i] + alpha * bonuses[t][i])
            discount *= c.gamma
            if ends[t][i] or t == steps - 1:
                total = total + (0.0 if terms[t][i] else discount * means[t][i])
                loss, total, discount = loss - total / (n * steps), 0.0, 1.0
        for t in reversed(range(steps)):
            soft = (rewards[t][i] + alpha * bonuses[t][i]).detach()
            low = 0.0 if terms[t][i] else lows[t][i]
            last = ends[t][i] or t == steps - 1
            targets[t, i] = soft + c.gamma * (low if last else (1 - c.lam) * low + c.lam * targets[t + 1, i])
    assert metrics["actor_loss"] == pytest.approx(loss.item(), rel=1e-9)
    assert metrics["value_mean"] == pytest.approx(targets.mean().item(), rel=1e-9)
    assert metrics["entropy"] == pytest.approx(entropy_sum.item() / (n * steps), rel=1e-9)

    def adamw(params, loss, lr, decay):
        optimiser = torch.optim.AdamW(params, lr=lr, betas=(0.7, 0.95), weight_decay=decay)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 0.5)
        optimiser.step()

    adamw([actor], loss, c.actor_lr, 0.01)
    torch.testing.assert_close(new.actor, actor.detach(), rtol=1e-8, atol=1e-9)
    fitted = state.critic.clone().requires_grad_()
    x = torch.cat(seen)
    errors = [(_value(c, p, x) - targets.flatten()).square().mean() for p in fitted.view(2, -1)]
    adamw([fitted], sum(errors), c.critic_lr, 0.01)
    torch.testing.assert_close(new.critic, fitted.detach(), rtol=1e-8, atol=1e-9)
    assert torch.equal(new.target, new.critic)
    log_alpha = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adamw([log_alpha], (log_alpha.exp() * (entropy_sum / (n * steps) - target)).sum(), c.temperature_lr, 0.0)
    torch.testing.assert_close(new.log_temperature, log_alpha.detach(), rtol=1e-8, atol=1e-9)


def _value(c, flat, x):
    """A critic from torch's functions: Linear, SiLU, LayerNorm, Linear."""
    (width,) = c.critic_hidden
    w, b, scale, shift, v, d = flat.split([2 * width, width, width, width, width, 1])
    h = torch.nn.functional.silu(x @ w.view(width, 2).T + b)
    h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return (h * scale + shift) @ v + d


@pytest.mark.parametrize(
    "change",
    [
        {"actor_entropy": False},
        {"soft_value": False},
        {"normalize_entropy": False},
        {"actor_value": "min"},
        {"target_value": "mean"},
        {"num_critics": 1},
        {"target_alpha": 0.9},
        {"state_dependent_std": False},
        {"activation": "elu"},
        {"weight_decay": 0.0},
        {"actor_init": "uniform"},
        {"logstd_max": -1.0},
        {"normalize_return": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_choice_matters(worlds, change):
    whole, ablated = (SAPO(SAPOConfig(**{**SMALL, **more})) for more in ({}, change))
    a, metrics = run(whole, whole.init(worlds(), 0), 3)
    b, _ = run(ablated, ablated.init(worlds(), 0), 3)
    assert a.actor.shape != b.actor.shape or not torch.equal(a.actor, b.actor)
    assert metrics[-1]["value_spread"] > 0


class Scaled:
    """Worlds whose rewards are in another unit."""

    def __init__(self, env, factor):
        self.env, self.spec, self.num_envs, self.factor = env, env.spec, env.num_envs, factor

    def reset(self, seed):
        return self.env.reset(seed)

    def step(self, state, action):
        state, step = self.env.step(state, action)
        return state, step._replace(reward=self.factor * step.reward)


def test_with_normalised_returns_the_unit_of_rewards_does_not_matter(worlds):
    found = {}
    for normalise in (True, False):
        algorithm = SAPO(SAPOConfig(**SMALL, normalize_return=normalise))
        for factor in (1.0, 1000.0):
            env = Scaled(worlds(dtype="float64"), factor)
            found[normalise, factor] = run(algorithm, algorithm.init(env, 0), 4)
    (one, m1), (other, m2) = found[True, 1.0], found[True, 1000.0]
    torch.testing.assert_close(one.actor, other.actor, rtol=1e-3, atol=1e-4)
    assert m2[-1]["value_mean"] == pytest.approx(m1[-1]["value_mean"], rel=1e-3)
    assert m2[-1]["return_unit"] == pytest.approx(1000 * m1[-1]["return_unit"], rel=1e-3)
    assert m2[-1]["return_mean"] == pytest.approx(1000 * m1[-1]["return_mean"], rel=1e-2)
    assert not torch.allclose(found[False, 1.0][0].actor, found[False, 1000.0][0].actor, rtol=1e-2, atol=1e-3)


def test_the_unit_is_the_spread_of_returns_as_they_run_up():
    """Against one number at a time, over windows that cut episodes."""
    g = torch.Generator().manual_seed(0)
    reward, done = torch.randn(11, 3, generator=g) + 2.0, torch.rand(11, 3, generator=g) < 0.2
    scale = ReturnScale.init(3, torch.device("cpu"))
    for part in (slice(0, 4), slice(4, 5), slice(5, 11)):
        scale = scale.update(reward[part], done[part], 0.9)
    seen, running = [], [0.0] * 3
    for t in range(11):
        for i in range(3):
            running[i] = 0.9 * running[i] + reward[t, i].item()
            seen.append(running[i])
            running[i] = 0.0 if done[t, i] else running[i]
    assert done.any()
    values = torch.tensor(seen, dtype=torch.float64)
    assert scale.running.tolist() == pytest.approx(running)
    # The initial guess (mean 0, variance 1) has the weight of 1e-4 numbers.
    assert scale.unit(torch.float64).item() == pytest.approx(values.std(correction=0).item(), rel=1e-4)


def test_a_fixed_temperature_stays(worlds):
    algorithm = SAPO(SAPOConfig(**SMALL, auto_temperature=False, temperature_init=0.2))
    state, metrics = run(algorithm, algorithm.init(worlds(), 0), 3)
    assert [m["temperature"] for m in metrics] == pytest.approx([0.2] * 3)
    assert state.temperature_adam.step == 0


@pytest.mark.parametrize(("target", "widest", "falls"), [(2.0, 2.0, True), (0.05, -3.0, False)])
def test_the_temperature_falls_above_the_target_entropy_and_rises_below(worlds, target, widest, falls):
    algorithm = SAPO(SAPOConfig(**SMALL, target_entropy=target, logstd_max=widest, temperature_lr=0.05))
    _, metrics = run(algorithm, algorithm.init(worlds(), 0), 4)
    assert all((m["entropy"] > -target) == falls for m in metrics)
    temperatures = [m["temperature"] for m in metrics]
    assert temperatures[0] == 1.0
    assert temperatures == sorted(temperatures, reverse=falls) and len(set(temperatures)) == 4


def test_the_target_entropy_grows_to_the_end(worlds):
    """From -0.05, above what such narrow actions can have, to -5, below; the last update's stays."""
    few = {**SMALL, "iterations": 4}
    algorithm = SAPO(
        SAPOConfig(**few, target_entropy=0.05, target_entropy_growth=100.0, logstd_max=-3.0, temperature_lr=0.05)
    )
    state, metrics = run(algorithm, algorithm.init(worlds(), 0), 5)
    assert all(-5.0 < m["entropy"] < -0.05 for m in metrics)
    first, second, *_, before, last = (m["temperature"] for m in metrics)
    assert second > first and last < before
    counters = (state.run._replace(iteration=iteration) for iteration in (0, 2, 4, 9))
    each = [algorithm._target_entropy(dataclasses.replace(state, run=counter)) for counter in counters]
    assert each == pytest.approx([0.05, 0.05 * 50.5, 5.0, 5.0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_critics": 0},
        {"target_entropy": 0.0},
        {"target_entropy_growth": 0.0},
        {"weight_decay": -1.0},
        {"logstd_max": -6.0},
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        SAPOConfig(**wrong)


def test_learns_to_control_a_point_mass(worlds):
    config = SAPOConfig(**POINT_MASS, temperature_init=0.1)
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    untrained, trained, _ = before_and_after(SAPO(config), env)
    assert untrained < 0.0 < 36.0 < trained < 40.0
