"""Networks, optimiser and statistics against torch's own, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrl_algos import SHACConfig
from diffrl_algos.torch._adam import Adam, Optimizer, clip_norm
from diffrl_algos.torch._critic import Critic, fit_critic, passes
from diffrl_algos.torch._episodes import Episodes
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._normalize import RunningStats
from diffrl_algos.torch._policy import GaussianActor, by_autograd

activations = st.sampled_from(["elu", "silu", "relu", "tanh"])
MODULES = {"elu": torch.nn.ELU, "silu": torch.nn.SiLU, "relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
widths = st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple)


def modules(mlp: MLP, flat: torch.Tensor) -> torch.nn.Sequential:
    """The same network from torch's layers."""
    layers: list[torch.nn.Module] = []
    for k, (n_in, n_out) in enumerate(zip(mlp.sizes[:-1], mlp.sizes[1:], strict=True)):
        layers.append(torch.nn.Linear(n_in, n_out))
        if k < len(mlp.sizes) - 2:
            layers += [MODULES[mlp.activation](), *([torch.nn.LayerNorm(n_out)] if mlp.layer_norm else [])]
    net = torch.nn.Sequential(*layers).double()
    torch.nn.utils.vector_to_parameters(flat, net.parameters())
    return net


@given(widths, activations, st.booleans(), st.integers(1, 7), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_forward_equals_torch_layers(sizes, activation, layer_norm, rows, seed):
    g = torch.Generator().manual_seed(seed)
    mlp = MLP(sizes, activation, layer_norm)
    flat = torch.randn(mlp.num_params, generator=g, dtype=torch.float64)
    x = torch.randn(rows, sizes[0], generator=g, dtype=torch.float64)
    torch.testing.assert_close(mlp(mlp.split(flat), x), modules(mlp, flat)(x), rtol=1e-12, atol=1e-12)


@given(widths, activations, st.booleans(), st.integers(1, 7), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_regression_gradient_equals_autograd(hidden, activation, layer_norm, rows, seed):
    g = torch.Generator().manual_seed(seed)
    mlp = MLP((*hidden, 1), activation, layer_norm)
    flat = torch.randn(mlp.num_params, generator=g, dtype=torch.float64, requires_grad=True)
    x = torch.randn(rows, hidden[0], generator=g, dtype=torch.float64)
    y = torch.randn(rows, generator=g, dtype=torch.float64)
    loss = torch.nn.functional.mse_loss(mlp(mlp.split(flat), x)[:, 0], y)
    (expected,) = torch.autograd.grad(loss, flat)
    grad = torch.full_like(expected, torch.nan)
    error = mlp.regression_grad(mlp.split(flat.detach()), x, y, mlp.split(grad))
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(error.square().mean(), loss.detach(), rtol=1e-12, atol=1e-12)


def test_initial_parameters():
    mlp = MLP((37, 64, 16, 1))
    orthogonal = mlp.split(mlp.init(torch.Generator().manual_seed(0), gain=math.sqrt(2.0)))
    for k in range(2):
        weight, bias, scale, shift = orthogonal[4 * k : 4 * k + 4]
        small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(small, 2.0 * torch.eye(len(small)), rtol=0, atol=1e-5)
        assert not bias.any() and (scale == 1).all() and not shift.any()
    plain = MLP((37, 64, 16, 1), layer_norm=False)
    assert [len(part) for part in plain.split(plain.init(torch.Generator(), gain=1.0))] == [64, 64, 16, 16, 1, 1]
    weight, bias = mlp.split(mlp.init(torch.Generator().manual_seed(0), gain=None))[:2]
    assert weight.abs().max() <= 1 / math.sqrt(37) and bias.abs().max() <= 1 / math.sqrt(37)
    assert weight.std().item() == pytest.approx(1 / math.sqrt(3 * 37), rel=0.05)


def test_networks_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="activation is 'gelu'; expected elu or silu or relu or tanh"):
        MLP((3, 2), "gelu")
    with pytest.raises(ValueError, match="sizes is"):
        MLP((3,))


@given(st.integers(1, 3), st.integers(1, 6), activations, st.booleans(), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_critics_are_fitted_as_if_each_were_alone(count, minibatches, activation, shuffle, seed):
    """Together and one by one, against torch's layers, AdamW and clipping over all of them."""
    config = SHACConfig(critic_iterations=2, critic_minibatches=minibatches, critic_shuffle=shuffle)
    optimizer = Optimizer((0.7, 0.95), 0.3, weight_decay=0.1)
    critic = Critic(MLP((3, 5, 4, 1), activation), count)
    g = torch.Generator().manual_seed(seed)
    flat = critic.init(g, gain=1.0).double()
    x, y = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((12, 3), (12,)))
    nets = [modules(critic.mlp, part) for part in flat.clone().split(critic.mlp.num_params)]
    torch.testing.assert_close(critic(flat, x), torch.stack([net(x)[:, 0] for net in nets]).detach())
    params = [p for net in nets for p in net.parameters()]
    theirs = torch.optim.AdamW(params, lr=0.01, betas=(0.7, 0.95), weight_decay=0.1)
    before = flat.clone()
    order = torch.Generator().manual_seed(seed)
    drawn = torch.stack([*passes(config, 12, order, x.device)])
    fitted, adam, loss = fit_critic(
        critic, flat, Adam.init(flat), x, y, config=config, optimizer=optimizer, lr=0.01, order=drawn
    )
    order.manual_seed(seed)
    errors = []
    for _ in range(2):
        if shuffle:
            rows = torch.randperm(12, generator=order)
            x, y = x[rows], y[rows]
        errors = []
        size = -(-12 // minibatches)
        for k in range(0, 12, size):
            error = torch.stack([net(x[k : k + size])[:, 0] - y[k : k + size] for net in nets])
            theirs.zero_grad()
            error.square().mean(1).sum().backward()
            torch.nn.utils.clip_grad_norm_(params, 0.3)
            theirs.step()
            errors.append(error.detach().flatten())
    torch.testing.assert_close(fitted, torch.nn.utils.parameters_to_vector(params).detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(loss, torch.cat(errors).square().mean(), rtol=1e-9, atol=1e-10)
    assert torch.equal(flat, before) and adam.step == 2 * len(errors)


def test_critics_start_apart():
    critic = Critic(MLP((3, 4, 1)), 2)
    first, second = critic.init(torch.Generator().manual_seed(0), gain=1.0).split(critic.mlp.num_params)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_adam_equals_torch(decay):
    g = torch.Generator().manual_seed(3)
    params = torch.randn(50, generator=g, dtype=torch.float64)
    mine, adam = params.clone(), Adam.init(params)
    theirs = params.clone().requires_grad_()
    optimiser = torch.optim.AdamW([theirs], lr=0.02, betas=(0.7, 0.95), weight_decay=decay)
    for _ in range(20):
        grad = torch.randn(50, generator=g, dtype=torch.float64) * 10
        clipped, norm = clip_norm(grad, 1.0)
        theirs.grad = grad.clone()
        assert torch.nn.utils.clip_grad_norm_([theirs], 1.0).item() == pytest.approx(norm.item(), rel=1e-12)
        optimiser.step()
        adam = adam.step_(mine, clipped, lr=0.02, betas=(0.7, 0.95), weight_decay=decay)
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-13)
    assert adam.step == 20


def test_an_optimiser_step_leaves_what_it_was_given():
    params, grad = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -4.0])
    optimizer, adam = Optimizer((0.7, 0.95), 1.0), Adam.init(torch.zeros(2))
    new, moments, norm = optimizer.step(params, adam, grad, 0.1)
    assert norm == 5.0 and params.tolist() == [1.0, 2.0] and not adam.m.any() and adam.step == 0
    # Adam's first step is the rate times the sign.
    torch.testing.assert_close(new, torch.tensor([0.9, 2.1]))
    assert moments.step == 1 and grad.tolist() == [3.0, -4.0]


def test_small_gradients_are_not_scaled():
    grad = torch.tensor([0.3, -0.4])
    assert torch.equal(clip_norm(grad, 1.0)[0], grad)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_statistics_are_those_of_all_rows(batches, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(3.0, 2.0, size=(n, 4)) for n in batches]
    stats = RunningStats.init(4, torch.device("cpu"))
    for part in rows:
        stats = stats.update(torch.from_numpy(part))
    everything = np.concatenate(rows)
    # The initial guess (mean 0, variance 1) has the weight of 1e-4 observations.
    weight = 1e-4 + len(everything)
    mean = everything.sum(0) / weight
    var = (1e-4 * (1 + mean**2) + ((everything - mean) ** 2).sum(0)) / weight
    np.testing.assert_allclose(stats.mean.numpy(), mean, rtol=1e-10)
    np.testing.assert_allclose(stats.var.numpy(), var, rtol=1e-9)
    shift, scale, _ = stats.normalizer(torch.float64)
    normalised = shift.numpy() + scale.numpy() * everything
    np.testing.assert_allclose(normalised, (everything - mean) / np.sqrt(var + 1e-5), rtol=1e-9, atol=1e-9)


def test_episode_returns_span_windows():
    reward = torch.arange(12, dtype=torch.float32).view(6, 2)
    done = torch.zeros(6, 2, dtype=torch.bool)
    done[1, 0] = done[4, 1] = done[5, 1] = True
    valid = torch.ones_like(done)
    whole = Episodes.init(2).update(reward, done, valid)
    cut = Episodes.init(2).update(reward[:4], done[:4], valid[:4]).update(reward[4:], done[4:], valid[4:])
    for part in (whole, cut):
        assert part.finished == 3
        assert part.recent_return[:3].tolist() == [0 + 2, 1 + 3 + 5 + 7 + 9, 11]
        assert part.recent_length[:3].tolist() == [2, 5, 1]
        assert part.running_return.tolist() == [4 + 6 + 8 + 10, 0]
        assert part.running_length.tolist() == [4, 0]
    assert Episodes.init(2).means() == (None, None)
    assert whole.means() == ((2 + 25 + 11) / 3, (2 + 5 + 1) / 3)


def test_only_the_last_hundred_episodes_count():
    episodes = Episodes.init(1)
    for k in range(130):
        episodes = episodes.update(torch.full((1, 1), float(k)), *torch.ones(2, 1, 1, dtype=torch.bool))
    assert episodes.finished == 130
    assert episodes.means()[0] == np.mean(np.arange(30, 130))


@pytest.mark.parametrize("state_dependent", [False, True])
@pytest.mark.parametrize("limits", [None, (-0.2, 0.1)])
@pytest.mark.parametrize("activation", ["elu", "silu"])
def test_the_gradient_of_an_actor_by_hand_is_autograds(state_dependent, limits, activation):
    """With a loss differentiated by autograd, and one by hand; entries beyond the limits of log sigma have none."""
    g = torch.Generator().manual_seed(0)
    actor = GaussianActor(MLP((3, 8, 5, 4 if state_dependent else 2), activation), state_dependent, limits)
    flat = actor.init(g, logstd=0.05).double()
    if not state_dependent:
        flat[-1] = 0.5
    x, eps, wanted = (torch.randn(7, n, generator=g, dtype=torch.float64) for n in (3, 2, 2))

    def loss(policy):
        return (policy.mean + eps * policy.logstd.exp() - wanted).square().sum(-1).mean() + policy.logstd.sum()

    def by_hand(policy):
        error = policy.mean + eps * policy.logstd.exp() - wanted
        by_mean = error * (2 / 7)
        extra = torch.ones_like(policy.logstd) if state_dependent else torch.full((7, 2), 1 / 7, dtype=torch.float64)
        return loss(policy), by_mean, by_mean * eps * policy.logstd.exp() + extra

    leaf = flat.clone().requires_grad_()
    value = loss(actor(actor.split(leaf), x))
    (expected,) = torch.autograd.grad(value, leaf)
    for pull in (by_autograd(loss), by_hand):
        found, gradient = actor.gradient(flat, x, pull)
        torch.testing.assert_close(found, value.detach())
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    assert limits is None or state_dependent or expected[-1] == 0.0
