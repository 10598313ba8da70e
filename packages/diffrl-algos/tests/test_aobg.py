"""AoBG: both batches, their weight and their mixture against definitions, in float64."""

from __future__ import annotations

import dataclasses
import importlib.util
import math

import pytest
import torch

import diffsim_core
import gradest
from diffrl_algos import UsageError, get_algorithm, load_preset
from diffrl_algos.torch import AOBG, SHAC, AOBGConfig, SHACConfig, TargetState
from diffrl_algos.torch._account import Clock

from .learning import POINT_MASS, before_and_after

N, T = 6, 8
SMALL = {"iterations": 10, "horizon": T, "actor_hidden": (8,), "critic_hidden": (16,), "critic_iterations": 2}
HAS_JAX = importlib.util.find_spec("flax") is not None
FRAMEWORKS = ["torch", pytest.param("jax", marks=pytest.mark.skipif(not HAS_JAX, reason="could not import 'flax'"))]


def second(worlds, **changes):
    """The algorithm and its state after one update, in worlds whose episodes end within a window."""
    algorithm = AOBG(AOBGConfig(**{**SMALL, **changes}))
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 0))
    return algorithm, state


def window_of(algorithm, state):
    """The actor's parameters, the next window and its advantages, and both batches."""
    actor, window, values = algorithm.collect(state, state.run.generator(), push=True)
    return actor, window, values, batches_of(algorithm, state, window, values)


def batches_of(algorithm, state, window, values):
    steps = window.trajectory
    objective = gradest.segment_objective(steps.reward, values.value_next, *window.ends, gamma=algorithm.config.gamma)
    (by_action,) = torch.autograd.grad(objective, window.push, retain_graph=True)
    return algorithm.batches(window, values, by_action, state)


def estimate(algorithm, state):
    """The gradient of the next update, and its figures."""
    actor, window, values, _ = window_of(algorithm, state)
    return algorithm.estimate(window, values, actor, state)


def close(one, other, tolerance=1e-10):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=1e-14)


# The two batches ------------------------------------------------------------------------------------------------------


def test_first_order_gradients_are_those_of_shacs_objective_in_each_world(worlds):
    """One backward pass through the simulator for each world, instead of one for all."""
    algorithm, state = second(worlds)
    actor, window, values, (first, _) = window_of(algorithm, state)
    steps, (terminated, done) = window.trajectory, window.ends
    assert done.any(1).sum() > 2
    for i in range(N):
        own = (part[:, i : i + 1] for part in (steps.reward, values.value_next, terminated, done))
        objective = gradest.segment_objective(*own, gamma=algorithm.config.gamma)
        close(first[i], torch.autograd.grad(objective, actor, retain_graph=True)[0], 1e-8)


@pytest.mark.parametrize("discount", [False, True])
def test_zeroth_order_gradients_are_scores_times_advantages(worlds, discount):
    algorithm, state = second(worlds, discount_advantages=discount)
    actor, window, values, (_, zeroth) = window_of(algorithm, state)
    network, u = algorithm.actor(state.env), window.u.detach()
    for i in range(N):
        total, k = 0.0, 0
        for t in range(T):
            policy = network(network.split(actor), values.x[t, i])
            normal = torch.distributions.Normal(policy.mean, policy.logstd.exp())
            weight = algorithm.config.gamma**k if discount else 1.0
            total = total + weight * values.advantage[t, i].detach() * normal.log_prob(u[t, i]).sum() / T
            k = 0 if window.trajectory.done[t, i] else k + 1
        close(zeroth[i], torch.autograd.grad(total, actor)[0], 1e-6)


def test_with_discounted_advantages_both_are_of_one_objective(worlds):
    """Over many worlds without ends their means agree within four standard errors, component by component."""
    algorithm = AOBG(AOBGConfig(**{**SMALL, "horizon": 3, "gamma": 0.8, "lam": 1.0, "discount_advantages": True}))
    env = worlds(num_envs=4000, dtype="float64", limit=1e9, horizon=50)
    state, _ = algorithm.update(algorithm.init(env, 0))
    _, window, _, (first, zeroth) = window_of(algorithm, state)
    assert not window.trajectory.done.any()
    error = ((first - zeroth).var(0) / len(first)).sqrt()
    assert ((first - zeroth).mean(0).abs() <= 4 * error + 1e-12).all()
    assert first.mean(0).norm() > 5 * (first.var(0).sum() / len(first)).sqrt()


def test_independent_batches_are_the_two_halves(worlds):
    both, state = second(worlds)
    _, window, values, (first, zeroth) = window_of(both, state)
    apart = AOBG(dataclasses.replace(both.config, independent=True))
    halves = batches_of(apart, state, window, values)
    close(halves[0], first[: N // 2])
    close(halves[1], zeroth[N // 2 :])


# Their mixture --------------------------------------------------------------------------------------------------------


def test_an_infinite_tolerance_weighs_by_inverse_variances(worlds):
    algorithm, state = second(worlds)
    *_, (first, zeroth) = window_of(algorithm, state)
    gradient, figures = estimate(algorithm, state)
    v1, v0 = (rows.var(0).sum() / N for rows in (first, zeroth))
    close(figures["first_variance"], v1)
    close(figures["zeroth_variance"], v0)
    close(figures["bias"], (first.mean(0) - zeroth.mean(0)).norm())
    weight = gradest.inverse_variance_weight(v1, v0)
    close(figures["alpha"], weight)
    close(gradient, weight * first.mean(0) + (1 - weight) * zeroth.mean(0))


def test_the_slack_and_the_tolerance_bound_the_error(worlds):
    free, state = second(worlds)
    *_, (first, zeroth) = window_of(free, state)
    _, plain = estimate(free, state)
    bias, largest = float(plain["bias"]), float(plain["alpha"])
    slack = 0.5 * largest * bias
    gradient, figures = estimate(AOBG(dataclasses.replace(free.config, slack=slack)), state)
    assert float(figures["alpha"]) == pytest.approx(0.5 * largest, rel=1e-9)
    close(gradient, zeroth.mean(0) + figures["alpha"] * (first.mean(0) - zeroth.mean(0)))

    radius = gradest.bernstein_radius(zeroth.var(0).sum(), samples=N, dimension=zeroth.shape[1], bound=2.0, delta=0.5)
    limited = dataclasses.replace(free.config, tolerance=float(radius) + slack, bound=2.0, delta=0.5)
    close(estimate(AOBG(limited), state)[0], gradient, 1e-8)
    tight = dataclasses.replace(free.config, tolerance=0.99 * float(radius), bound=2.0, delta=0.5)
    assert estimate(AOBG(tight), state)[1]["alpha"] == 0.0


def test_with_weight_1_it_is_shacs_update_of_the_actor(worlds, monkeypatch):
    algorithm, state = second(worlds, actor_lr=1e-2)
    monkeypatch.setattr("gradest._alpha_order.alpha_order_weight", lambda v1, *_, **options: torch.ones_like(v1))
    names = {field.name for field in dataclasses.fields(SHACConfig)}
    shac = SHAC(SHACConfig(**{name: value for name, value in vars(algorithm.config).items() if name in names}))
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(TargetState)}
    pairs = ((algorithm, state), (shac, TargetState(**fields)))
    ours, theirs = (one.learn(start, start.run.generator(), Clock()) for one, start in pairs)
    for field in ("m", "v"):
        close(getattr(ours.changes["actor_adam"], field), getattr(theirs.changes["actor_adam"], field))
    close(ours.changes["actor"], theirs.changes["actor"])
    close(ours.metrics["actor_loss"], theirs.metrics["actor_loss"])
    assert not torch.equal(ours.changes["actor"], state.actor)


def test_with_weight_0_it_is_the_likelihood_ratio_gradient(worlds):
    algorithm, state = second(worlds, slack=0.0)
    gradient, figures = estimate(algorithm, state)
    actor, window, values, _ = window_of(algorithm, state)
    network = algorithm.actor(state.env)
    log_prob = network(network.split(actor), values.x).log_prob(window.u.detach())
    objective = gradest.likelihood_ratio_objective(log_prob, values.advantage.detach())
    assert figures["alpha"] == 0.0
    close(gradient, torch.autograd.grad(objective, actor)[0])


def test_targets_are_shacs(worlds):
    algorithm, state = second(worlds)
    _, window, values, _ = window_of(algorithm, state)
    options = {"gamma": algorithm.config.gamma, "lam": algorithm.config.lam}
    target = gradest.td_lambda(window.trajectory.reward, values.value_next, *window.ends, **options)
    close(values.target_value, target.detach())


# Errors and learning --------------------------------------------------------------------------------------------------


def built(framework, **changes):
    return get_algorithm("aobg", framework).build(AOBGConfig(**{**SMALL, **changes}))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_variances_need_two_worlds_in_each_batch(worlds, framework):
    with pytest.raises(ValueError, match="num_envs is 1, and AOBG takes variances over worlds; give it at least 2"):
        built(framework).init(worlds(num_envs=1, arrays=framework), 0)
    message = "num_envs is 3, and AOBG takes variances over each half of the worlds; give it at least 4"
    with pytest.raises(ValueError, match=message):
        built(framework, independent=True).init(worlds(num_envs=3, arrays=framework), 0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_worlds_without_gradients_are_refused(worlds, framework):
    env = worlds(arrays=framework)
    env.spec = dataclasses.replace(env.spec, differentiable=False)
    with pytest.raises(ValueError, match="'toy' is not differentiable, and AOBG learns through its gradients"):
        built(framework).init(env, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slack": 1.0, "tolerance": 2.0}, "slack is 1.0; it must be none with a tolerance, which is 2.0"),
        ({"tolerance": -1.0}, "tolerance of AOBGConfig is -1.0; it takes a number of at least 0"),
        ({"slack": math.inf}, "slack of AOBGConfig is inf"),
        ({"delta": 0.0}, "delta of AOBGConfig is 0.0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises((UsageError, ValueError), match=message):
        AOBGConfig(**options)


@pytest.mark.parametrize("task", ["ant", "cartpole", "hopper"])
def test_presets_are_shacs(task):
    ours, theirs = load_preset("aobg", task), load_preset("shac", task)
    shared = vars(ours.config).keys() & vars(theirs.config).keys()
    assert {name: getattr(ours.config, name) for name in shared} == {n: getattr(theirs.config, n) for n in shared}
    assert (ours.num_envs, ours.eval_episodes) == (theirs.num_envs, theirs.eval_episodes) and len(shared) > 30
    assert AOBGConfig().target_alpha == SHACConfig().target_alpha


@pytest.mark.parametrize("independent", [False, True])
def test_it_learns_to_control_a_point_mass(worlds, independent):
    config = AOBGConfig(**POINT_MASS, target_alpha=0.2, independent=independent)
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    before, after, _ = before_and_after(AOBG(config), env)
    assert before < 30.0 < 36.0 < after


@pytest.mark.slow
def test_it_learns_to_swing_up_a_cart_pole():
    """With its preset, and a fifth of the updates."""
    preset = load_preset("aobg", "cartpole")
    env = diffsim_core.make("cartpole", num_envs=preset.num_envs)
    before, after, _ = before_and_after(AOBG(dataclasses.replace(preset.config, iterations=100)), env)
    assert before < -1_500 and after > -1_000
