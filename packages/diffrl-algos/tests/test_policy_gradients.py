"""LR, RP, LR+RP and policy enhancement: each estimate against its definition, in float64."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

import diffsim_core
import gradest
from diffrl_algos import LRConfig, LRRPConfig, PEConfig, RPConfig, train
from diffrl_algos.torch import LR, LRRP, PE, RP

N, T = 6, 8
SMALL = {"iterations": 10, "horizon": T, "actor_hidden": (8,), "critic_hidden": (16,), "critic_iterations": 2}
KINDS = {"lr": (LR, LRConfig), "rp": (RP, RPConfig), "lrrp": (LRRP, LRRPConfig), "pe": (PE, PEConfig)}


def estimate(worlds, name, **changes):
    """The gradient of the second update, its window and actor, and the state and algorithm."""
    kind, config = KINDS[name]
    algorithm = kind(config(**{**SMALL, **changes}))
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 0))
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    with torch.set_grad_enabled(algorithm.gradients):
        actor, window, values = algorithm.collect(state, generator, between=kind.between, push=algorithm.push)
    gradient, figures = algorithm.estimate(window, values, actor, state)
    return gradient, figures, merged(window, values), actor, state, algorithm


def merged(window, values):
    """A window and its advantages as one object."""
    fields = {**window._asdict(), **values._asdict(), "u": window.u.detach()}
    return SimpleNamespace(**fields, parts=(window, values))


def again(algorithm, state):
    """The same window with a graph, and the actor's parameters in it."""
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    actor, window, values = algorithm.collect(state, generator, push=True)
    return actor, merged(window, values)


def per_world(algorithm, window, returns, state):
    """The RP and LR gradients of each world."""
    (by_action,) = torch.autograd.grad(returns.sum(), window.push, retain_graph=True)
    return algorithm._per_world(*window.parts, by_action, state)


def objective(window, c, world=None):
    """Sum of the TD(lambda) returns of the pieces of episodes, in loops: ``G_t = r + gamma ((1 - lam) V + lam G)``."""
    steps, total = window.trajectory, 0.0
    for i in range(N) if world is None else [world]:
        ahead = None
        for t in reversed(range(T)):
            value = torch.zeros(()) if steps.terminated[t, i] else window.value_next[t, i]
            cut = ahead is None or steps.done[t, i]
            ahead = steps.reward[t, i] + c.gamma * (value if cut else (1 - c.lam) * value + c.lam * ahead)
            if t == 0 or steps.done[t - 1, i]:
                total = total + ahead
    return total


def pieces(window):
    return int(1 * N + window.trajectory.done[:-1].sum())


def test_lr_is_the_score_times_standardised_advantages(worlds):
    gradient, _, window, actor, state, algorithm = estimate(worlds, "lr")
    assert not window.advantage.requires_grad and pieces(window) > N
    network = algorithm.actor(state.env)
    scaled = (window.advantage - window.advantage.mean()) / window.advantage.std()
    total = 0.0
    for t in range(T):
        for i in range(N):
            policy = network(network.split(actor), window.x[t, i])
            normal = torch.distributions.Normal(policy.mean, policy.logstd.exp())
            total = total + scaled[t, i] * normal.log_prob(window.u[t, i]).sum()
    (expected,) = torch.autograd.grad(total / (N * T), actor)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


def test_rp_is_the_gradient_of_td_lambda_returns(worlds):
    gradient, _, window, actor, state, algorithm = estimate(worlds, "rp")
    actor, window = again(algorithm, state)
    (expected,) = torch.autograd.grad(objective(window, algorithm.config) / pieces(window), actor)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-14)


def test_rp_is_the_slope_of_its_objective(worlds):
    """Central differences of the same window along a random direction."""
    gradient, _, window, actor, state, algorithm = estimate(worlds, "rp")
    direction = torch.randn(actor.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h, values = 1e-6, []
    for sign in (1, -1):
        _, moved = again(algorithm, state.replace(actor=(actor + sign * h * direction).detach()))
        assert torch.equal(moved.trajectory.done, window.trajectory.done)
        values.append(objective(moved, algorithm.config) / pieces(window))
    assert float((values[0] - values[1]) / (2 * h)) == pytest.approx(float(gradient @ direction), rel=1e-6)


def test_per_world_gradients_are_those_of_one_backward_pass_each(worlds):
    """The RP gradients of single worlds without a pass through the simulator for each."""
    _, figures, window, actor, state, algorithm = estimate(worlds, "lrrp")
    actor, window = again(algorithm, state)
    c = algorithm.config
    returns = torch.stack([torch.as_tensor(objective(window, c, i)) for i in range(N)])
    one_by_one = [torch.autograd.grad(returns[i], actor, retain_graph=True)[0] for i in range(N)]
    rp, lr = per_world(algorithm, window, returns, state)
    network = algorithm.actor(state.env)
    for i in range(N):
        torch.testing.assert_close(rp[i], one_by_one[i], rtol=1e-8, atol=1e-12)
        score, k = 0.0, 0
        for t in range(T):
            log_prob = network(network.split(actor), window.x[t, i]).log_prob(window.u[t, i])
            score = score + (c.gamma * c.lam) ** k * window.advantage[t, i].detach() * log_prob
            k = 0 if window.trajectory.done[t, i] else k + 1
        (expected,) = torch.autograd.grad(score, actor, retain_graph=True)
        torch.testing.assert_close(lr[i], expected, rtol=1e-8, atol=1e-12)
    v_rp, v_lr = (rows.var(0).sum() * (N / pieces(window)) ** 2 / N for rows in (rp, lr))
    assert float(figures["rp_variance"]) == pytest.approx(float(v_rp), rel=1e-8)
    assert float(figures["rp_weight"]) == pytest.approx(float(v_lr / (v_lr + v_rp)), rel=1e-8)


def test_the_mixture_is_its_two_parts(worlds):
    gradient, figures, window, _, state, algorithm = estimate(worlds, "lrrp", variance_samples=3)
    _, window = again(algorithm, state)
    returns = torch.stack([torch.as_tensor(objective(window, algorithm.config, i)) for i in range(N)])
    rp, lr = (rows * N / pieces(window) for rows in per_world(algorithm, window, returns, state))
    v_rp, v_lr = (rows[:3].var(0).sum() for rows in (rp, lr))
    weight = v_lr / (v_lr + v_rp)
    torch.testing.assert_close(gradient, weight * rp.mean(0) + (1 - weight) * lr.mean(0), rtol=1e-8, atol=1e-12)
    assert figures["rp_weight"] == pytest.approx(float(weight))


def test_lr_and_rp_estimate_one_gradient(worlds):
    """Over many worlds without ends their means agree within four standard errors, component by component."""
    algorithm = LRRP(LRRPConfig(**{**SMALL, "horizon": 3}))
    env = worlds(num_envs=4000, dtype="float64", limit=1e9, horizon=50)
    state, _ = algorithm.update(algorithm.init(env, 0))
    _, window = again(algorithm, state)
    assert not window.trajectory.done.any()
    returns = gradest.reparameterised_objective(
        window.trajectory.reward, window.value_next, *window.ends, gamma=0.99, lam=0.95
    )
    rp, lr = per_world(algorithm, window, returns, state)
    error = ((rp - lr).var(0) / len(rp)).sqrt()
    assert ((rp.mean(0) - lr.mean(0)).abs() <= 4 * error + 1e-12).all()
    assert rp.mean(0).norm() > 5 * (rp.var(0).sum() / len(rp)).sqrt()


def test_pe_goes_up_one_step_and_the_value_after_it(worlds):
    gradient, _, window, actor, state, algorithm = estimate(worlds, "pe")
    c, actor_network, critic = algorithm.config, algorithm.actor(state.env), algorithm.critic(state.env)
    policy, total = algorithm.policy(state), 0.0
    env_state, obs = state.run.env_state, state.run.obs
    for t in range(T):
        x = policy.normalize(obs)
        gaussian = actor_network(actor_network.split(actor), x)
        u = gaussian.mean + window.eps[t] * gaussian.logstd.exp()
        env_state, step = state.env.step(env_state, torch.tanh(u))
        value = critic(state.target, policy.normalize(step.final_obs))[0]
        total = total + (step.reward + c.gamma * torch.where(step.terminated, 0.0, value)).sum()
        env_state, obs = diffsim_core.stop_gradient(env_state), step.obs.detach()
    (expected,) = torch.autograd.grad(total / (N * T), actor)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-14)


def test_lr_asks_for_no_gradient(worlds):
    env = worlds()
    env.spec = dataclasses.replace(env.spec, differentiable=False)
    algorithm = LR(LRConfig(**SMALL))
    state, _ = algorithm.update(algorithm.init(env, 0))
    assert state.run.refused == 0


def test_variances_need_two_worlds(worlds):
    with pytest.raises(ValueError, match="num_envs is 1, and LRRP takes variances over worlds; it needs 2"):
        LRRP(LRRPConfig(**SMALL)).init(worlds(num_envs=1), 0)
    with pytest.raises(ValueError, match="variance_samples is 1; it must be 0 or at least 2"):
        LRRPConfig(variance_samples=1)


@pytest.mark.parametrize("name", KINDS)
def test_it_goes_down_a_function(name):
    """From about -9 of the first policy; the way to the minimum is the suite's business."""
    kind, config = KINDS[name]
    c = config(iterations=150, horizon=1, actor_hidden=(32, 32), critic_hidden=(8,), actor_lr=1e-2, critic_iterations=1)
    result = train(kind(c), diffsim_core.make("dejong"), seed=0)
    assert -0.5 < result.metrics["return_mean"] <= 0.0
