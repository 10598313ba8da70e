"""Densities, entropies and divergences against numerical integration and torch's own; actors that use them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrl_algos.torch._distributions import Gaussian, log_det_tanh
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._normalize import Normalizer
from diffrl_algos.torch._policy import GaussianActor, GaussianPolicy
from diffrl_algos.torch._window import explore
from diffsim_core import EnvState, Transition

means, logstds = st.floats(-2.0, 2.0), st.floats(-2.5, 1.0)


def scalar(mean, logstd):
    return Gaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([logstd], dtype=torch.float64))


def grid(gaussian, points=20001, widths=12.0):
    """Points ``u [K, 1]`` that cover the distribution, and their spacing."""
    std = gaussian.logstd.exp()
    u = gaussian.mean + std * torch.linspace(-widths, widths, points, dtype=torch.float64)[:, None]
    return u, float(std) * 2 * widths / (points - 1)


@given(means, logstds)
@settings(max_examples=30, deadline=None)
def test_density_and_entropy_of_a_gaussian(mean, logstd):
    gaussian = scalar(mean, logstd)
    u, du = grid(gaussian)
    log_p = gaussian.log_prob(u)
    assert (log_p.exp().sum() * du).item() == pytest.approx(1.0, abs=1e-9)
    assert (-(log_p.exp() * log_p).sum() * du).item() == pytest.approx(gaussian.entropy().item(), abs=1e-8)


@given(means, logstds)
@settings(max_examples=30, deadline=None)
def test_density_and_entropy_of_a_squashed_gaussian(mean, logstd):
    """Integrated over actions in (-1, 1), not over what is squashed."""
    gaussian = scalar(mean, logstd)
    edges = torch.tanh(grid(gaussian, 200001)[0])[:, 0]
    a = 0.5 * (edges[1:] + edges[:-1])
    inside = a.abs() < 1.0
    a, da = a[inside], (edges[1:] - edges[:-1])[inside]
    u = torch.atanh(a)[:, None]
    log_p = gaussian.squashed_log_prob(u)
    assert (log_p.exp() * da).sum().item() == pytest.approx(1.0, abs=1e-4)
    entropy = -(log_p.exp() * log_p * da).sum().item()
    # The mean of the estimate over the distribution is the entropy.
    u, du = grid(gaussian)
    weight = gaussian.log_prob(u).exp() * du
    assert (-weight * gaussian.squashed_log_prob(u)).sum().item() == pytest.approx(entropy, abs=2e-3)


@given(means, logstds, means, logstds)
@settings(max_examples=30, deadline=None)
def test_divergence_is_the_integral_squashed_or_not(mean, logstd, other_mean, other_logstd):
    p, q = scalar(mean, logstd), scalar(other_mean, other_logstd)
    u, du = grid(p)
    weight = p.log_prob(u).exp() * du
    for log_p, log_q in (
        (p.log_prob(u), q.log_prob(u)),
        (p.squashed_log_prob(u), q.squashed_log_prob(u)),
    ):
        assert (weight * (log_p - log_q)).sum().item() == pytest.approx(p.kl(q).item(), rel=1e-6, abs=1e-7)


@given(st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_many_dimensions_equal_torch(size, seed):
    g = torch.Generator().manual_seed(seed)
    mean, logstd, u = (torch.randn(7, size, generator=g, dtype=torch.float64) for _ in range(3))
    mine = Gaussian(mean, logstd)
    normal = torch.distributions.Normal(mean, logstd.exp())
    theirs = torch.distributions.TransformedDistribution(normal, [torch.distributions.TanhTransform()])
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(mine.log_prob(u), normal.log_prob(u).sum(-1), **close)
    torch.testing.assert_close(mine.entropy(), normal.entropy().sum(-1), **close)
    torch.testing.assert_close(Gaussian(mean, logstd[0]).entropy(), logstd[0].sum() + mine.entropy() - logstd.sum(-1))
    u = u.clamp(-4, 4)
    torch.testing.assert_close(mine.squashed_log_prob(u), theirs.log_prob(torch.tanh(u)).sum(-1), rtol=1e-7, atol=1e-7)
    other = torch.distributions.Normal(mean.flip(0), logstd.flip(0).exp())
    expected = torch.distributions.kl_divergence(normal, other).sum(-1)
    torch.testing.assert_close(mine.kl(Gaussian(mean.flip(0), logstd.flip(0))), expected, **close)


def test_density_far_out_is_finite_and_exact():
    u = torch.tensor([[-60.0], [-20.0], [20.0], [60.0]], requires_grad=True)
    # 1 - tanh^2 is about 4 exp(-2 |u|), which float32 loses.
    expected = math.log(4.0) - 2.0 * u.detach()[:, 0].abs()
    log_det = log_det_tanh(u)
    torch.testing.assert_close(log_det.detach(), expected)
    (grad,) = torch.autograd.grad(log_det.sum(), u)
    torch.testing.assert_close(grad, -2.0 * u.detach().sign())


class Still:
    """Worlds that show the same observation for ever."""

    def __init__(self, obs):
        self.obs, self.num_envs = obs, len(obs)

    def run(self):
        t = torch.zeros(self.num_envs, dtype=torch.int32)
        state = EnvState((), (), t, t, torch.zeros((), dtype=torch.int64))
        return SimpleNamespace(env=self, env_state=state, obs=self.obs)

    def step(self, state, action):
        flags = torch.zeros(self.num_envs, dtype=torch.bool)
        return state, Transition(action.sum(1), flags, flags, self.obs, self.obs, flags, {})


@pytest.mark.parametrize("state_dependent", [False, True])
def test_policies_act_as_their_distribution_says(state_dependent):
    g = torch.Generator().manual_seed(1)
    outputs = 4 if state_dependent else 2
    actor = GaussianActor(MLP((3, 6, outputs), "silu"), state_dependent, (-1.5, 0.5))
    assert actor.num_actions == 2
    flat = actor.init(g, logstd=-9.0, gain=1.0)
    assert len(flat) == actor.mlp.num_params + (0 if state_dependent else 2)
    obs, eps = torch.randn(5, 3, generator=g), torch.randn(4, 5, 2, generator=g)
    shift, scale = torch.full((3,), 0.1), torch.full((3,), 2.0)
    flat.requires_grad_()
    window = explore(actor, flat, Normalizer(shift, scale), Still(obs).run(), eps)
    actions, gaussian = window.trajectory.action, window.policy
    alone = actor(actor.split(flat), shift + scale * obs)
    torch.testing.assert_close(gaussian.mean, alone.mean.expand(4, 5, 2))
    torch.testing.assert_close(gaussian.logstd.expand(4, 5, 2), alone.logstd.expand(4, 5, 2))
    assert gaussian.logstd.min() >= -1.5 and gaussian.logstd.max() <= 0.5
    torch.testing.assert_close(window.u, gaussian.mean + eps * gaussian.logstd.exp())
    torch.testing.assert_close(actions, torch.tanh(window.u))
    assert torch.autograd.grad(actions.sum(), flat)[0].abs().sum() > 0

    mean = GaussianPolicy(actor, flat, Normalizer(shift, scale), None)(obs)
    torch.testing.assert_close(mean, torch.tanh(alone.mean))
    noisy = GaussianPolicy(actor, flat, Normalizer(shift, scale), torch.Generator().manual_seed(0))
    sampled = noisy(obs.repeat(3000, 1))
    spread = (torch.atanh(sampled.double()) - alone.mean.repeat(3000, 1)) / alone.logstd.exp().expand(5, 2).repeat(
        3000, 1
    )
    assert spread.std().item() == pytest.approx(1.0, rel=0.02)
