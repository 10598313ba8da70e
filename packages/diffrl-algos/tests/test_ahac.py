"""AHAC: SHAC where nothing adapts; stiffness is that of the Jacobian; the horizon and the critics' passes follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import AHACConfig, SHACConfig
from diffrl_algos.torch import AHAC, SHAC
from diffrl_algos.torch._stiffness import StiffnessProbe, mean_stiffness

from .learning import before_and_after
from .toy import DT, GAIN

SMALL = {"iterations": 10, "actor_hidden": (16, 8), "critic_hidden": (16,), "critic_shuffle": False}
FIXED = {"horizon": 8, "horizon_min": 8, "horizon_max": 8}


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


def test_where_nothing_adapts_it_is_shac(worlds):
    """One update, after which the random numbers of the probe have moved the stream."""
    common = {**SMALL, "horizon": 8, "critic_iterations": 3, "target_alpha": 0.3}
    shac = SHAC(SHACConfig(**common))
    ahac = AHAC(AHACConfig(**{**common, **FIXED}, num_critics=1, critic_tolerance=0.0))
    mine, theirs = ahac.init(worlds(), 3), shac.init(worlds(), 3)
    assert torch.equal(mine.actor, theirs.actor) and torch.equal(mine.critic, theirs.critic)
    mine, theirs = ahac.update(mine)[0], shac.update(theirs)[0]
    for name in ("actor", "critic", "target"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    assert torch.equal(mine.run.obs, theirs.run.obs)
    assert torch.equal(mine.actor_adam.v, theirs.actor_adam.v) and mine.horizon == 8


def growth(jacobian, noise):
    """``|v^T J| / |v|`` for each row of noise."""
    return (noise @ jacobian).norm(dim=1) / noise.norm(dim=1)


def test_stiffness_is_that_of_the_simulators_jacobian_alone(worlds):
    """The point mass is linear, and a policy with feedback changes nothing."""
    env = worlds(num_envs=5, dtype="float64", limit=50.0, horizon=40)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(7))
    state, obs = env.reset(0)
    gain = torch.tensor([[-3.0], [-2.0]], dtype=torch.float64, requires_grad=True)
    window, _, _ = diffsim_core.rollout(probe, lambda obs: torch.tanh(obs @ gain), state, obs, 6)
    assert window.action.requires_grad
    jacobian = torch.tensor([[1.0, DT], [0.0, 1.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(7)
    expected = []
    for _ in range(6):
        x, v = (torch.randn(5, 1, generator=generator, dtype=torch.float64) for _ in range(2))
        expected.append(growth(jacobian, torch.cat([x, v], dim=1)).mean())
    rest, found = mean_stiffness(window)
    assert "stiffness" in window.metrics and "stiffness" not in rest.metrics
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert not found.requires_grad


def test_stiffness_of_a_robot_equals_differences():
    env = diffsim_core.make("cartpole", num_envs=3, dtype="float64", threads=1)
    state, _ = env.reset(2)
    action = torch.tensor([[0.5], [-0.3], [0.0]], dtype=torch.float64)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(1))
    _, step = probe.step(state, action)
    generator = torch.Generator().manual_seed(1)
    noise = torch.cat([torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(2)], dim=1)

    def after(q, qd):
        physics = env.step(state._replace(physics=type(state.physics)(q, qd)), action)[0].physics
        return torch.cat([physics.q, physics.qd], dim=1)

    rows, eps = [], 1e-6
    for k in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[k] = eps
        q, qd = state.physics
        rows.append((after(q + shift[:2], qd + shift[2:]) - after(q - shift[:2], qd - shift[2:])) / (2 * eps))
    jacobian = torch.stack(rows, dim=2)
    pulled = torch.einsum("ni,nij->nj", noise, jacobian)
    expected = (pulled.norm(dim=1) / noise.norm(dim=1)).mean()
    torch.testing.assert_close(step.metrics["stiffness"].mean(), expected, rtol=1e-6, atol=1e-8)


def test_stiffness_squared_is_the_mean_squared_singular_value(worlds):
    env = worlds(num_envs=20000, dtype="float64", limit=50.0)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(0))
    state, _ = env.reset(0)
    physics = type(state.physics)(*(part.requires_grad_() for part in state.physics))
    after, _ = env.step(state._replace(physics=physics), torch.zeros(20000, 1, dtype=torch.float64))
    squares = probe._growth(physics, after.physics).square()
    values = np.linalg.svd(np.array([[1.0, DT], [0.0, 1.0]]), compute_uv=False)
    error = squares.std().item() / math.sqrt(20000)
    assert abs(squares.mean().item() - (values**2).mean()) < 4 * error


def test_contact_is_stiff_and_flight_is_not():
    """Ant falls: about 1 while it flies, far more once its feet are on the ground."""
    env = diffsim_core.make("ant", num_envs=8, threads=1)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(0))
    state, obs = env.reset(0)
    window, _, _ = diffsim_core.rollout(probe, lambda _: torch.zeros(8, 8), state, obs, 30)
    _, found = mean_stiffness(window)
    assert (found[:3] < 1.5).all() and found[-5:].mean() > 10


def test_worlds_that_end_are_no_measure(worlds):
    env = worlds(num_envs=4, dtype="float64", limit=50.0, horizon=3)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(0))
    state, obs = env.reset(0)
    window, _, _ = diffsim_core.rollout(probe, lambda _: torch.zeros(4, 1, dtype=torch.float64), state, obs, 4)
    _, found = mean_stiffness(window)
    assert found[2] == 1.0 and (found[[0, 1, 3]] != 1.0).all()
    # Where some end, the others count: zero gradients through their resets do not pull the mean down.
    env = worlds(num_envs=50, dtype="float64", limit=0.5, horizon=30)
    probe = StiffnessProbe(env, torch.Generator().manual_seed(0))
    state, obs = env.reset(0)
    window, _, _ = diffsim_core.rollout(probe, lambda _: torch.zeros(50, 1, dtype=torch.float64), state, obs, 1)
    assert 10 < window.terminated.sum() < 40
    assert abs(mean_stiffness(window)[1].item() - 1.0) < 0.05


@pytest.mark.parametrize(
    ("threshold", "stiff", "longer"),
    [(30.0, "shortens", True), (0.5, "shortens", False), (30.0, "lengthens", False), (0.5, "lengthens", True)],
)
def test_the_horizon_follows_the_stiffness(worlds, threshold, stiff, longer):
    """The point mass is smooth everywhere: its stiffness is 1."""
    config = AHACConfig(
        **SMALL,
        horizon=10,
        horizon_min=4,
        horizon_max=16,
        horizon_lr=0.3,
        lr_schedule="constant",
        stiffness_max=threshold,
        stiff=stiff,
        critic_iterations=1,
    )
    algorithm = AHAC(config)
    state, metrics = run(algorithm, algorithm.init(worlds(limit=20.0, horizon=60), 0), 12)
    lengths = [m["horizon"] for m in metrics]
    assert lengths[0] == 10 and lengths == sorted(lengths, reverse=not longer)
    assert state.horizon == (16 if longer else 4)
    assert state.env_steps == 6 * sum(lengths)
    assert all(m["stiffness_mean"] == pytest.approx(1.0, abs=0.05) for m in metrics)


def test_the_horizon_takes_the_step_of_the_formula(worlds):
    """Three updates once more, from the stiffness they report; one with a multiplier for all."""
    for shared in (False, True):
        config = AHACConfig(
            **SMALL,
            horizon_min=2,
            horizon=3,
            horizon_lr=0.5,
            stiffness_max=1.3,
            shared_multiplier=shared,
            lr_schedule="constant",
            critic_iterations=1,
        )
        algorithm = AHAC(config)
        state = algorithm.init(worlds(dtype="float64"), 1)
        for _ in range(3):
            before = state
            state, metrics = algorithm.update(state)
            steps = metrics["horizon"]
            phi = before.multipliers.numpy().copy()
            phi = np.full_like(phi, phi[0]) if shared else phi
            change = state.multipliers.numpy() - phi
            assert steps == round(float(before.horizon))
            assert change[:steps].mean() == pytest.approx(0.5 * (metrics["stiffness_mean"] / 1.3 - 1), rel=1e-9)
            assert not change[steps:].any()
            total = 0.5 * state.multipliers.numpy()[:steps].sum()
            assert float(state.horizon) == pytest.approx(np.clip(float(before.horizon) - total, 2, 64), rel=1e-9)


def test_critics_are_fitted_until_they_settle(worlds):
    few = AHAC(AHACConfig(**SMALL, critic_tolerance=1e9))
    all_of_them = AHAC(AHACConfig(**SMALL, critic_tolerance=0.0, critic_iterations=9))
    some = AHAC(AHACConfig(**SMALL, critic_tolerance=0.02, critic_iterations=200, critic_lr=2e-2))
    passes = [run(a, a.init(worlds(), 0), 1)[1][0]["critic_passes"] for a in (few, all_of_them, some)]
    assert passes[:2] == [6, 9] and 6 < passes[2] < 200


def test_critics_start_apart_and_the_least_counts(worlds):
    algorithm = AHAC(AHACConfig(**SMALL))
    state = algorithm.init(worlds(), 0)
    first, second = state.critic.chunk(2)
    assert not torch.equal(first, second)
    # A critic that promises much changes nothing.
    _, metrics = algorithm.update(state)
    eager = second.clone()
    eager[-1] += 1000.0
    _, same = algorithm.update(state.replace(target=torch.cat([first, eager])))
    alone = AHAC(AHACConfig(**SMALL, num_critics=1))
    single = alone.init(worlds(), 0).replace(actor=state.actor, critic=first, target=first)
    _, expected = alone.update(single.replace(run=single.run._replace(rng=state.run.rng)))
    assert same["value_mean"] == pytest.approx(expected["value_mean"], rel=1e-6)
    assert metrics["value_mean"] < same["value_mean"] and metrics["value_spread"] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": 7},
        {"horizon": 65},
        {"horizon_max": 6},
        {"horizon_lr": -0.1},
        {"stiffness_max": 0.0},
        {"target_alpha": 1.0},
        {"critic_tolerance": -1.0},
        {"num_critics": 0},
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        AHACConfig(**wrong)


def test_learns_to_control_a_point_mass(worlds):
    config = AHACConfig(
        iterations=40,
        horizon_lr=0.05,
        horizon_max=24,
        actor_hidden=(32,),
        critic_hidden=(32,),
        actor_lr=2e-2,
        critic_lr=5e-3,
        critic_iterations=8,
    )
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    untrained, trained, end = before_and_after(AHAC(config), env)
    assert untrained < 0.0 < 36.0 < trained < 40.0
    assert end.horizon > 8


def test_gain_of_the_toy_is_what_these_tests_assume():
    assert (DT, GAIN) == (0.1, 2.0)
