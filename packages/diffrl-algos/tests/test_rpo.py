"""RPO: its first epoch is SHAC's step, later ones weigh the same gradients by ratios; it learns."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import gradest
from diffrl_algos import get_algorithm
from diffrl_algos.torch import RPO, SHAC, Adam, GaussianActor, Optimizer, RPOConfig, SHACConfig
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._policy_losses import ReusedGradients
from diffrl_algos.torch._reuse import reuse_

from .learning import POINT_MASS, before_and_after

SMALL = {"iterations": 10, "horizon": 8, "actor_hidden": (16, 8), "critic_hidden": (16,), "critic_iterations": 2}
SMALL |= {"target_alpha": 0.3}
SHACS = {"actor_iterations": 1, "kl_coef": 0.0, "entropy_coef": 0.0, "num_critics": 1}
SHACS |= {"actor_lr": 2e-3, "weight_decay": 0.0, "activation": "elu"}
SPREADS = [False, True]


def close(one, other, tolerance=1e-10):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def run(algorithm, state, updates):
    metrics = {}
    for _ in range(updates):
        state, metrics = algorithm.update(state)
    return state, metrics


def second(worlds, **changes):
    """The algorithm and its state after an update, in worlds whose episodes end within a window."""
    algorithm = RPO(RPOConfig(**{**SMALL, **changes}))
    return algorithm, run(algorithm, algorithm.init(worlds(dtype="float64"), 0), 1)[0]


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("code", ["torch", "native"])
def test_with_one_epoch_and_no_penalties_it_is_shac(worlds, spread, code):
    shared = {**SMALL, "state_dependent_std": spread, "policy_step": code, "critic_fit": "torch"}
    rpo, shac = RPO(RPOConfig(**shared, **SHACS, policy_fit=code)), SHAC(SHACConfig(**shared))
    mine, figures = run(rpo, rpo.init(worlds(dtype="float64"), 3), 4)
    theirs, expected = run(shac, shac.init(worlds(dtype="float64"), 3), 4)
    for name in ("actor", "critic", "target"):
        close(getattr(mine, name), getattr(theirs, name), 1e-9)
    assert torch.equal(mine.run.rng, theirs.run.rng)
    for name in ("actor_loss", "critic_loss", "grad_norm", "std_mean"):
        assert figures[name] == pytest.approx(expected[name], rel=1e-6), name


@pytest.mark.parametrize("spread", SPREADS)
def test_the_gradient_of_the_first_epoch_is_shacs(worlds, spread):
    """To rounding: one backward pass to the parameters, the other to the actions and on by rows."""
    algorithm, state = second(worlds, state_dependent_std=spread, kl_coef=0.0, entropy_coef=0.0)
    flat, normalize, window = algorithm.explore(state, state.run.generator(), push=True)
    steps = window.trajectory
    assert steps.done.any(1).sum() > 2
    values = algorithm.critic(state.env)(state.target, normalize(steps.final_obs)).mean(0)
    objective = gradest.segment_objective(steps.reward, values, *window.ends, gamma=algorithm.config.gamma)
    (shacs,) = torch.autograd.grad(-objective, flat, retain_graph=True)
    loss, _ = algorithm.loss(window, objective)
    actor, params = algorithm.actor(state.env), state.actor.clone().requires_grad_()
    policy = actor(actor.split(params), normalize(steps.obs.detach()).flatten(0, 1))
    close(loss.weight(policy), torch.ones_like(loss.reference))
    (mine,) = torch.autograd.grad(loss.loss(policy), params)
    close(mine, shacs, 1e-9)
    assert shacs.norm() > 1e-3


def test_the_epochs_are_the_formulas(worlds):
    """An update once more, with rows, ratios and Adam by hand."""
    given = {"kl_coef": 0.3, "entropy_coef": 0.05, "actor_iterations": 4, "actor_lr": 3e-2, "ratio_min": 0.8}
    algorithm, state = second(worlds, **given, ratio_max=1.1, weight_decay=0.0, lr_schedule="constant")
    c = algorithm.config
    new, figures = algorithm.update(state)
    _, normalize, window = algorithm.explore(state, state.run.generator(), push=True)
    steps = window.trajectory
    values = algorithm.critic(state.env)(state.target, normalize(steps.final_obs)).mean(0)
    objective = gradest.segment_objective(steps.reward, values, *window.ends, gamma=c.gamma)
    g, u, x = torch.autograd.grad(objective, window.push)[0], window.u.detach(), normalize(steps.obs.detach())
    old = torch.distributions.Normal(window.policy.mean.detach(), window.policy.logstd.detach().exp())
    network, flat, adam, seen = algorithm.actor(state.env), state.actor.clone(), state.actor_adam.clone(), []
    for _ in range(4):
        params = flat.clone().requires_grad_()
        policy = network(network.split(params), x)
        now = torch.distributions.Normal(policy.mean, policy.logstd.exp())
        ratio = (now.log_prob(u) - old.log_prob(u)).sum(-1).exp().detach()
        inside = (ratio >= c.ratio_min) & (ratio <= c.ratio_max)
        seen.append(float((~inside).double().mean()))
        action = now.mean + now.stddev * ((u - now.mean) / now.stddev).detach()
        kl = torch.distributions.kl_divergence(old, now).sum(-1).mean()
        total = (torch.where(inside, ratio, 0.0)[..., None] * g * action).sum()
        loss = -total + c.kl_coef * kl - c.entropy_coef * now.entropy().sum(-1).mean()
        (grad,) = torch.autograd.grad(loss, params)
        adam, _ = algorithm.optimizer.step_(flat, adam, grad, c.actor_lr)
    assert seen[0] == 0.0 and 0.0 < seen[-1] < 1.0
    close(new.actor, flat, 1e-7)
    assert figures["kl"] > 0.0 and 0.0 < figures["out_of_range"] < 1.0 and figures["epochs"] == 4


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("penalties", [{"kl_coef": 0.4, "entropy_coef": 0.2}, {"kl_coef": 0.0, "entropy_coef": 0.0}])
def test_compiled_epochs_are_torchs(worlds, spread, penalties):
    """With minibatches that do not divide the rows, ratios on both sides of the range, and noise at its bound."""
    given = {"actor_iterations": 4, "actor_minibatches": 5, "actor_lr": 1e-2, "ratio_min": 0.8, "ratio_max": 1.1}
    given |= {"logstd_max": -0.98, "max_grad_norm": 0.1, "state_dependent_std": spread, **penalties}
    ends, figures = {}, {}
    for code in ("torch", "native"):
        algorithm, state = second(worlds, **given, policy_fit=code, policy_step="torch", critic_fit="torch")
        ends[code], figures[code] = run(algorithm, state, 2)
    close(ends["torch"].actor, ends["native"].actor)
    close(ends["torch"].actor_adam.v, ends["native"].actor_adam.v)
    for name in ("kl", "out_of_range", "grad_norm"):
        assert figures["torch"][name] == pytest.approx(figures["native"][name], rel=1e-6), name
    assert 0.0 < figures["native"]["out_of_range"] < 1.0


@pytest.mark.parametrize("code", ["torch", "native"])
def test_what_is_out_of_range_does_not_count_even_if_it_is_not_finite(code):
    rows, actor = 12, GaussianActor(MLP((3, 8, 2), "elu", True))
    flat = actor.init(torch.Generator().manual_seed(0), logstd=-0.5).double()
    u, gradient, x = (torch.randn(rows, n, generator=torch.Generator().manual_seed(n)).double() for n in (2, 2, 3))
    old = torch.zeros_like(u)
    reference = actor(actor.split(flat), x).log_prob(u)
    reference[::3] -= 2.0
    ends = []
    for spoiled in (False, True):
        if spoiled:
            gradient[::3] = torch.inf
        loss = ReusedGradients(u, gradient, old, old, reference, (0.2, 2.0), 0.1, 0.1)
        optimizer, after, order = Optimizer((0.7, 0.95), 1.0), flat.clone(), torch.arange(rows)[None]
        options = {"minibatch": rows, "optimizer": optimizer, "lr": 0.01, "native": code == "native"}
        with gradest.allow_nan():
            reuse_(actor, after, Adam.init(flat), x, order, loss, **options)
        ends.append(after)
    assert torch.equal(*ends) and not torch.equal(ends[0], flat)


def test_out_of_range_it_stands_still(worlds):
    """A range of 1 alone lets the first epoch through and nothing after it."""
    options = {"kl_coef": 0.0, "entropy_coef": 0.0, "ratio_min": 1.0, "ratio_max": 1.0, "weight_decay": 0.0}
    options |= {"betas": (0.0, 0.95), "policy_step": "torch"}
    ends = []
    for epochs in (1, 3):
        algorithm, state = second(worlds, **options)
        algorithm = RPO(dataclasses.replace(algorithm.config, actor_iterations=epochs))
        ends.append(run(algorithm, state, 1))
    (one, _), (three, figures) = ends
    assert torch.equal(one.actor, three.actor) and figures["out_of_range"] == 1.0


def test_two_critics_and_how_they_combine(worlds):
    """The two networks begin apart; the actor's value and the targets' are as configured."""
    ends = {}
    for how in ("mean", "min"):
        algorithm = RPO(RPOConfig(**SMALL, actor_value=how, target_value="min"))
        state, figures = run(algorithm, algorithm.init(worlds(), 1), 2)
        halves = state.critic.view(2, -1)
        assert not torch.equal(*halves) and math.isfinite(figures["critic_loss"])
        ends[how] = state.actor
    assert not torch.equal(ends["mean"], ends["min"])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ratio_min", 1.5, "ratio_min of RPOConfig is 1.5; it takes a number from 0 to 1"),
        ("ratio_max", 0.5, "ratio_max of RPOConfig is 0.5; it takes a number of at least 1"),
        ("ratio_max", math.nan, "ratio_max of RPOConfig is nan"),
        ("kl_coef", -0.1, "kl_coef of RPOConfig is -0.1"),
        ("actor_iterations", 0, "actor_iterations of RPOConfig is 0"),
    ],
)
def test_what_a_configuration_refuses(field, value, words):
    with pytest.raises(ValueError, match=words):
        RPOConfig(**{field: value})
    assert get_algorithm("rpo").config_class() is RPOConfig


def test_it_learns_to_control_a_point_mass(worlds):
    algorithm = RPO(RPOConfig(**{**POINT_MASS, "actor_lr": 5e-3, "iterations": 30}, entropy_coef=0.0))
    before, after, _ = before_and_after(algorithm, worlds(num_envs=16, limit=2.0, horizon=20))
    assert after > before + 2.0 and after > 17.0
