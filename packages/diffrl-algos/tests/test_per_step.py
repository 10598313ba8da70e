"""IVW-H and DDCG: the mixture of every step, its way back through time, and DDCG's test, in float64."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch

import gradest
from diffrl_algos import get_algorithm, load_preset
from diffrl_algos._mixing import trusted
from diffrl_algos.torch import DDCG, IVWH, SHAC, DDCGConfig, IVWHConfig, SHACConfig, TargetState
from diffrl_algos.torch._account import Clock

from .learning import POINT_MASS, before_and_after

N, T = 6, 8
SMALL = {"iterations": 10, "horizon": T, "actor_hidden": (8,), "critic_hidden": (16,), "critic_iterations": 2}
HAS_JAX = importlib.util.find_spec("flax") is not None
BOTH = {"ivwh": (IVWH, IVWHConfig), "ddcg": (DDCG, DDCGConfig)}
every = pytest.mark.parametrize("name", BOTH)


def built(name, **changes):
    algorithm, config = BOTH[name]
    return algorithm(config(**{**SMALL, **changes}))


def second(worlds, name="ivwh", **changes):
    """The algorithm and its state after one update, in worlds whose episodes end within a window."""
    algorithm = built(name, **changes)
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 0))
    return algorithm, state


def window_of(algorithm, state):
    """The actor's parameters, the next window and its advantages."""
    return algorithm.collect(state, state.run.generator(), **algorithm.options(state))


def recorded(algorithm, blocked=None):
    """The same algorithm, which keeps what it mixes; optionally with other gradients that are taken as not finite."""
    calls = []

    class Recorded(type(algorithm)):
        def mix(self, by_action, lost, samples):
            lost = lost if blocked is None else blocked
            mixture = super().mix(by_action, lost, samples)
            calls.append((by_action, samples, mixture))
            return mixture

    return Recorded(algorithm.config), calls


def close(one, other, tolerance=1e-10):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=1e-13)


# Fixed weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes"),
    [("ivwh", {}), ("ivwh", {"through_time": True}), ("ivwh", {"state_dependent_std": True}), ("ddcg", {})],
)
def test_with_weight_1_it_is_shacs_update_of_the_actor(worlds, name, changes):
    algorithm, state = second(worlds, name, fixed_weight=1.0, actor_lr=1e-2, **changes)
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


@pytest.mark.parametrize("through_time", [False, True])
@pytest.mark.parametrize("discount", [False, True])
def test_with_weight_0_it_is_the_likelihood_ratio_gradient(worlds, through_time, discount):
    changes = {"through_time": through_time, "discount_advantages": discount}
    algorithm, state = second(worlds, fixed_weight=0.0, **changes)
    actor, window, values = window_of(algorithm, state)
    gradient, figures = algorithm.estimate(window, values, actor, state)
    network, weight = algorithm.actor(state.env), values.advantage.detach()
    if discount:
        weight = gradest.segment_discounted(weight, window.ends[1], factor=algorithm.config.gamma)
    log_prob = network(network.split(actor), values.x).log_prob(window.u.detach())
    close(gradient, torch.autograd.grad(gradest.likelihood_ratio_objective(log_prob, weight), actor)[0])
    assert figures["alpha_mean"] == 0.0


# The mixture ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["coordinate", "trace"])
@pytest.mark.parametrize("spread", [False, True])
def test_mixtures_are_those_of_their_definition(worlds, variance, spread):
    """Step by step, world by world, with both gradients by automatic differentiation of what they are defined by."""
    algorithm, state = second(worlds, variance=variance, state_dependent_std=spread)
    actor, window, values = window_of(algorithm, state)
    assert window.ends[1].any(1).sum() > 2
    steps, c = window.trajectory, algorithm.config
    objective = gradest.segment_objective(steps.reward, values.value_next, *window.ends, gamma=c.gamma)
    (slope,) = torch.autograd.grad(T * N * objective, window.push, retain_graph=True)
    advantage = gradest.segment_discounted(values.advantage.detach(), window.ends[1], factor=c.gamma)
    network = algorithm.actor(state.env)
    policy = network(network.split(actor), values.x)
    mean = policy.mean.detach().requires_grad_()
    logstd = policy.logstd.detach().expand(T, N, -1).clone().requires_grad_()
    moved = (slope * (mean + logstd.exp() * window.eps)).sum()
    score = torch.distributions.Normal(mean, logstd.exp()).log_prob(window.u.detach()).sum(-1)
    first, zeroth = (
        torch.cat(torch.autograd.grad(of, [mean, logstd], retain_graph=True), -1)
        for of in (moved, (advantage * score).sum())
    )
    mixed = torch.empty_like(first)
    for t in range(T):
        v1, v0 = (rows[t].var(0) for rows in (first, zeroth))
        alpha = v0 / (v0 + v1) if variance == "coordinate" else v0.sum() / (v0.sum() + v1.sum())
        for i in range(N):
            mixed[t, i] = alpha * first[t, i] + (1 - alpha) * zeroth[t, i]
    outputs = torch.cat([policy.mean, policy.logstd.expand(T, N, -1)], -1)
    (expected,) = torch.autograd.grad((mixed * outputs).sum() / (T * N), actor)

    gradient, figures = algorithm.estimate(window, values, actor, state)
    close(gradient, expected, 1e-6)
    assert 0.0 < figures["alpha_mean"] < 1.0 and figures["switched"] == 0.0 and figures["worlds_mixed"] == 1.0


@pytest.mark.parametrize("spread", [False, True])
def test_through_time_a_mixture_takes_the_place_of_the_gradient_of_its_step(worlds, spread):
    """Plain backpropagation, with what every mixture adds to the gradient of its step put in there."""
    algorithm, calls = recorded(built("ivwh", through_time=True, state_dependent_std=spread))
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64", limit=3.0, horizon=50), 0))
    calls.clear()
    actor, window, values = window_of(algorithm, state)
    algorithm.estimate(window, values, actor, state)
    reached, samples, mixture = calls[-1]
    assert len(calls) == T  # one for each step that passes something on, and the last for all

    _, _, again = algorithm.explore(state, state.run.generator(), push=True)
    others = algorithm.advantages(state, again, state.run.normalizer(algorithm.config))
    gamma = algorithm.config.gamma
    objective = T * N * gradest.segment_objective(again.trajectory.reward, others.value_next, *again.ends, gamma=gamma)
    came = torch.cat([reached, reached * samples.std * samples.eps], -1)
    by_mean, by_logstd = (mixture.gradient - came).chunk(2, -1)
    added = (by_mean * again.policy.mean).sum()
    if spread:
        added = added + (by_logstd * again.policy.logstd).sum()
    expected, ordinary = (
        torch.autograd.grad(of, again.push, retain_graph=True)[0] for of in (objective + added, objective)
    )
    close(reached, expected, 1e-8)
    close(reached[-1], ordinary[-1])
    assert (reached - ordinary).abs().max() > 1e-6


@pytest.mark.parametrize("nonfinite", ["zero", "mask"])
def test_gradients_that_are_not_finite_give_way(worlds, nonfinite):
    lost = torch.zeros(T, N, dtype=torch.bool)
    lost[3, 1] = True
    plain, state = second(worlds, nonfinite=nonfinite)
    algorithm, calls = recorded(plain, lost)
    actor, window, values = window_of(algorithm, state)
    _, figures = algorithm.estimate(window, values, actor, state)
    _, samples, mixture = calls[0]
    whole = torch.arange(N) == 1 if nonfinite == "mask" else torch.ones(N, dtype=torch.bool)
    assert torch.equal(mixture.gradient[3][whole], samples.zeroth[3][whole])
    assert figures["switched"] == (0.0 if nonfinite == "mask" else 1 / T)
    assert (mixture.alpha[torch.arange(T) != 3] > 0).all()


# DDCG -----------------------------------------------------------------------------------------------------------------


def test_values_of_windows_telescope_and_lose_what_comes_without_noise(worlds):
    algorithm, state = second(worlds, "ddcg")
    _, window, values = window_of(algorithm, state)
    residual, (terminated, done) = algorithm.residual(window, values), window.ends
    reward, follows = window.trajectory.reward.detach(), values.value_next.detach()
    for i in range(N):
        total, power, first = 0.0, 1.0, True
        for t in range(T):
            if first:
                total, power = total - values.value[t, i].detach(), 1.0
            total, power, first = total + power * reward[t, i], power * algorithm.config.gamma, bool(done[t, i])
            if (first or t == T - 1) and not terminated[t, i]:
                total = total + power * follows[t, i]
        close(residual[:, i].sum(), total)

    quiet = dataclasses.replace(state, actor=state.actor.clone())
    quiet.actor[-1:] = -20.0  # the log deviation
    _, window, values = window_of(algorithm, quiet)
    samples = algorithm.samples(window, values, quiet)
    assert samples.residual.abs().max() < 1e-6 < algorithm.residual(window, values).abs().max()


@pytest.mark.parametrize("scope", ["window", "step"])
def test_what_the_gradients_do_not_explain_is_switched(worlds, scope):
    algorithm, state = second(worlds, "ddcg", scope=scope)
    _, window, values = window_of(algorithm, state)
    samples, valid = algorithm.samples(window, values, state), torch.ones(T, N, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(T, N, 1, generator=rng, dtype=torch.float64)
    linear = samples._replace(residual=2.0 * noise[..., 0])
    assert trusted(torch, algorithm.config, torch.full_like(noise, 3.0), linear, valid).all()
    jump = linear.residual.clone()
    jump[5] += 50.0 * (noise[5, :, 0] > 0)
    seen = trusted(torch, algorithm.config, torch.full_like(noise, 3.0), samples._replace(residual=jump), valid)
    assert torch.equal(seen, torch.arange(T) != 5) if scope == "step" else not seen.any()


def test_the_second_roll_out_is_counted(worlds):
    for scope, windows in (("window", 2), ("step", 1)):
        algorithm = built("ddcg", scope=scope)
        state, metrics = algorithm.update(algorithm.init(worlds(), 0))
        assert state.env_steps == windows * T * N and metrics.get("trials", 0) == windows - 1


# Errors and learning --------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize(
    "framework", ["torch", pytest.param("jax", marks=pytest.mark.skipif(not HAS_JAX, reason="could not import 'flax'"))]
)
def test_variances_need_two_worlds(worlds, name, framework):
    one = worlds(num_envs=1, arrays=framework)
    _, config = BOTH[name]
    algorithm = get_algorithm(name, framework)
    message = f"num_envs is 1, and {name.upper()} takes variances over worlds; give it at least 2, or a fixed_weight"
    with pytest.raises(ValueError, match=message):
        algorithm.build(config(**SMALL)).init(one, 0)
    algorithm.build(config(**SMALL, fixed_weight=0.5)).init(one, 0)
    if framework == "jax":
        with pytest.raises(ValueError, match=f"through_time is true, which {name.upper()} has in torch alone"):
            algorithm.build(IVWHConfig(**SMALL, through_time=True)).init(worlds(arrays="jax"), 0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "ivwh",
            {"through_time": True, "policy_step": "native"},
            "policy_step is native; it must be auto or torch with",
        ),
        ("ddcg", {"through_time": True}, "scope is window; it must be step with through_time"),
        ("ivwh", {"outliers": 0.0}, "outliers of IVWHConfig is 0.0"),
        ("ivwh", {"fixed_weight": 1.5}, "fixed_weight of IVWHConfig is 1.5"),
        ("ddcg", {"slack": -0.1}, "slack of DDCGConfig is -0.1"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        BOTH[name][1](**options)


@every
@pytest.mark.parametrize("task", ["ant", "cartpole", "hopper"])
def test_presets_are_shacs(name, task):
    ours, theirs = load_preset(name, task), load_preset("shac", task)
    shared = vars(ours.config).keys() & vars(theirs.config).keys()
    assert {name: getattr(ours.config, name) for name in shared} == {n: getattr(theirs.config, n) for n in shared}
    assert (ours.num_envs, ours.eval_episodes) == (theirs.num_envs, theirs.eval_episodes) and len(shared) > 30


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("ivwh", {}, marks=pytest.mark.slow),
        ("ivwh", {"through_time": True, "outliers": 10.0, "nonfinite": "mask"}),
        ("ddcg", {}),
    ],
)
def test_it_learns_to_control_a_point_mass(worlds, name, changes):
    algorithm, config = BOTH[name]
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    before, after, _ = before_and_after(algorithm(config(**POINT_MASS, target_alpha=0.2, **changes)), env)
    assert before < 30.0 < 36.0 < after
