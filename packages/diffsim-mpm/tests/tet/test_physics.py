"""Closed forms: conservation, free fall, small strains, waves, friction, and the order of the integrator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffsim_mpm.tet import Contact, TetDynamics, TetModel, box, twin

from .host import FREE, SLIPPERY, step, still


def lame(k_mu: float, k_lambda: float) -> tuple[float, float]:
    """Lame's parameters for small strains [Pa]."""
    return 0.75 * k_mu, k_lambda - 0.625 * k_mu


def young(k_mu: float, k_lambda: float) -> float:
    mu, lam = lame(k_mu, k_lambda)
    return mu * (3 * lam + 2 * mu) / (lam + mu)


def momenta(model: TetModel, x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = model.masses[:, None] * v
    return p.sum(axis=0), np.cross(x, p).sum(axis=0)


def test_a_tumbling_body_keeps_its_momenta():
    """A thousand sub-steps, activated and far from rest. Damping resists rotation too, so it is off."""
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (2, 1, 2)), k_damp=0.0, **FREE)
    random = np.random.default_rng(0)
    worlds = still(model)
    x = worlds.x + 0.05 * random.normal(size=worlds.x.shape)
    v = np.cross([2.0, -3.0, 5.0], x) + [0.3, 0.2, -0.1] + 0.5 * random.normal(size=x.shape)
    now = worlds._replace(x=x, v=v, u=0.2 * random.uniform(-1, 1, worlds.u.shape))
    before = momenta(model, x[0], v[0])
    dynamics = TetDynamics(model, dt=0.01, substeps=10, dtype="float64")
    for _ in range(100):
        now, ok = step(dynamics, now)
        assert ok.all()
    for a, b in zip(before, momenta(model, now.x[0], now.v[0]), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-12)


def test_damping_keeps_linear_momentum_and_takes_energy():
    """It knows relative velocities only: the same from a moving train."""
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (2, 1, 2)), k_damp=2.0, **FREE)
    worlds = still(model, 2)
    v = np.random.default_rng(1).normal(size=worlds.x[:1].shape)
    now = worlds._replace(v=np.concatenate([v, v + [5.0, 0.0, -3.0]]))
    dynamics = TetDynamics(model, dt=0.01, substeps=20, dtype="float64")
    start, energies = momenta(model, now.x[0], now.v[0])[0], []
    for _ in range(20):
        now, _ = step(dynamics, now)
        kinetic = 0.5 * (model.masses[:, None] * now.v[0] ** 2).sum()
        energies.append(kinetic + twin.energy(model, now.x[0], now.u[0]))
    assert (np.diff(energies) < 0).all()
    np.testing.assert_allclose(momenta(model, now.x[0], now.v[0])[0], start, rtol=1e-12)
    np.testing.assert_allclose(now.v[1] - [5.0, 0.0, -3.0], now.v[0], atol=1e-11)


def test_a_body_at_rest_stays_at_rest():
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (3, 2, 2)), k_mu=700.0, k_lambda=2000.0, **FREE)
    worlds = still(model)
    out, _ = step(TetDynamics(model, dt=0.1, substeps=100, dtype="float64"), worlds)
    np.testing.assert_allclose(out.x, worlds.x, atol=1e-13)


def test_a_body_in_flight_falls_as_the_scheme_says():
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (1, 1, 1)))
    worlds = still(model, lift=50.0)
    worlds.v[:] = [1.0, 2.0, 3.0]
    out, _ = step(TetDynamics(model, dt=0.5, substeps=500, dtype="float64"), worlds)
    n, h = 500, 0.001
    fallen = np.array([0, 0, -9.81]) * h * h * n * (n + 1) / 2
    np.testing.assert_allclose(out.x, worlds.x + 0.5 * worlds.v + fallen, rtol=1e-11)


def test_forces_are_the_slope_of_the_energy():
    """By differences of the energy, away from rest and activated."""
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (2, 1, 1)), k_mu=700.0, k_lambda=1500.0, **FREE)
    random = np.random.default_rng(2)
    x = model.mesh.x + 0.1 * random.normal(size=model.mesh.x.shape)
    u = 0.3 * random.uniform(-1, 1, model.num_controls)
    forces = twin.elastic_forces(model, x, np.zeros_like(x), u)
    h, slopes, expected = 3e-6, [], []
    for _ in range(20):
        along = random.normal(size=x.shape)
        slopes.append((twin.energy(model, x + h * along, u) - twin.energy(model, x - h * along, u)) / (2 * h))
        expected.append(-(forces * along).sum())
    np.testing.assert_allclose(slopes, expected, atol=1e-8 * np.abs(expected).max())


def test_stress_does_not_turn_with_the_observer():
    """``P(R F) = R P(F)`` without damping."""
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (1, 1, 1)), k_damp=0.0)
    random = np.random.default_rng(3)
    F = np.eye(3) + 0.3 * random.normal(size=(model.mesh.num_tets, 3, 3))
    R = np.linalg.qr(random.normal(size=(3, 3)))[0]
    R *= np.sign(np.linalg.det(R))
    act, still_ = 0.2 * random.normal(size=len(F)), np.zeros_like(F)
    turned = twin.stress(model, R @ F, still_, act)
    np.testing.assert_allclose(turned, R @ twin.stress(model, F, still_, act), rtol=1e-10, atol=1e-9)


def test_small_strains_are_hookes():
    """``P = 2 mu eps + lambda tr(eps) I`` with Lame's parameters of the docstring."""
    model = TetModel(mesh=box((1.0, 1.0, 1.0), (1, 1, 1)), k_mu=800.0, k_lambda=1300.0)
    strain = np.random.default_rng(4).normal(size=(3, 3))
    strain = 1e-6 * (strain + strain.T)
    F = np.repeat((np.eye(3) + strain)[None], model.mesh.num_tets, axis=0)
    mu, lam = lame(800.0, 1300.0)
    expected = 2 * mu * strain + lam * np.trace(strain) * np.eye(3)
    found = twin.stress(model, F, np.zeros_like(F), np.zeros(len(F)))
    np.testing.assert_allclose(found, np.broadcast_to(expected, F.shape), atol=1e-5 * abs(expected).max())


def test_the_integrator_is_of_first_order():
    model = TetModel(mesh=box((1.0, 0.5, 0.7), (2, 1, 2)), **FREE)
    worlds = still(model)
    worlds = worlds._replace(v=np.random.default_rng(6).normal(size=worlds.x.shape))
    counts = [50, 100, 200, 400]

    def after(substeps: int) -> np.ndarray:
        return step(TetDynamics(model, dt=0.1, substeps=substeps, dtype="float64"), worlds)[0].x

    finest = 2 * after(12800) - after(6400)
    errors = [abs(after(n) - finest).max() for n in counts]
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order == pytest.approx(1.0, abs=0.1)


def test_a_bar_stretches_at_the_speed_of_sound():
    """The lowest mode of a free bar has period ``2 L / c``, ``c = sqrt(E / rho)`` where Poisson's ratio is zero."""
    length, cells, k_mu, rho = 2.0, 20, 1000.0, 1.3
    model = TetModel(
        mesh=box((length, 0.2, 0.2), (cells, 2, 2)), k_mu=k_mu, k_lambda=0.625 * k_mu, density=rho, k_damp=0.0, **FREE
    )
    mode = np.cos(math.pi * model.mesh.x[:, 0] / length)
    worlds = still(model)
    now = worlds._replace(x=worlds.x + 1e-4 * mode[:, None] * [1.0, 0.0, 0.0])
    period = 2 * length / math.sqrt(1.5 * k_mu / rho)
    count = 400
    dynamics = TetDynamics(model, dt=period / count, substeps=10, dtype="float64")
    signs = []
    for _ in range(count):
        now, _ = step(dynamics, now)
        signs.append(model.masses * mode @ (now.x[0] - model.mesh.x)[:, 0])
    signs = np.array(signs)
    down = np.flatnonzero((signs[1:] < 0) & (signs[:-1] >= 0))[0]
    up = np.flatnonzero((signs[1:] >= 0) & (signs[:-1] < 0))[0]
    at = [k + 1 + signs[k] / (signs[k] - signs[k + 1]) for k in (down, up)]  # quarter and three quarters of a period
    assert 2 * (at[1] - at[0]) / count == pytest.approx(1.0, rel=0.01)


def test_a_column_is_shortened_by_its_weight_as_hooke_says():
    """``rho g H^2 / 2 E`` on slippery ground, where nothing holds its sides."""
    height, rho, g = 1.0, 1.0, 0.5
    model = TetModel(
        mesh=box((0.4, 0.4, height), (2, 2, 6)),
        k_mu=1000.0, k_lambda=1200.0, k_damp=20.0, density=rho, gravity=(0, 0, -g), contact=SLIPPERY,
    )  # fmt: skip
    now = still(model, lift=0.05)
    dynamics = TetDynamics(model, dt=0.05, substeps=600, dtype="float64")
    for _ in range(60):
        now, ok = step(dynamics, now)
        assert ok.all()
    assert abs(now.v).max() < 1e-6
    top = model.mesh.x[:, 2] == height
    shorter = height - (now.x[0, top, 2].mean() - now.x[0, model.mesh.x[:, 2] == 0, 2].mean())
    assert shorter == pytest.approx(rho * g * height**2 / (2 * young(1000.0, 1200.0)), rel=0.03)
    pushed = (0.05 - now.x[0, :, 2]).clip(0).sum() * model.contact.ke
    assert pushed == pytest.approx(model.masses.sum() * g, rel=1e-4)


def test_a_sliding_body_is_braked_by_coulombs_friction():
    """``mu g`` while every node slides faster than the viscous part of the law asks for."""
    model = TetModel(
        mesh=box((1.0, 1.0, 0.3), (2, 2, 1)), k_mu=2e4, k_lambda=2e4, k_damp=20.0, density=10.0,
        contact=Contact(mu=0.3, kf=50.0, kd=5.0),
    )  # fmt: skip
    now = still(model, lift=0.048)
    dynamics = TetDynamics(model, dt=0.02, substeps=200, dtype="float64")
    for _ in range(40):
        now, _ = step(dynamics, now)
    assert abs(now.v).max() < 1e-3
    now.v[:, :, 0] += 2.0
    speeds = []
    for _ in range(15):
        now, _ = step(dynamics, now)
        speeds.append(float(model.masses @ now.v[0, :, 0] / model.masses.sum()))
    braking = -np.polyfit(0.02 * np.arange(15), speeds, 1)[0]
    assert speeds[-1] > 0.5 and braking == pytest.approx(0.3 * 9.81, rel=0.02)


def test_an_activated_body_shrinks_to_its_new_rest_volume():
    """Under an activation of 0.1 the unit cube settles where the isotropic stress vanishes."""
    model = TetModel(mesh=box((1.0, 1.0, 1.0), (2, 2, 2)), k_mu=100.0, k_lambda=2000.0, k_damp=10.0, **FREE)
    worlds = still(model)
    now = worlds._replace(u=np.full_like(worlds.u, 0.1))
    dynamics = TetDynamics(model, dt=0.1, substeps=200, dtype="float64")
    for _ in range(20):
        now, _ = step(dynamics, now)
    size = np.ptp(now.x[0], axis=0)
    ratio = 100.0 / 2000.0

    def stress(s: float) -> float:  # of F = s I, divided by k_lambda
        return ratio * s * (1 - 1 / (3 * s * s + 1)) + (s**3 - (1 + 0.75 * ratio) + 0.1) * s * s

    low, high = 0.8, 1.0
    for _ in range(60):
        low, high = ((low + high) / 2, high) if stress((low + high) / 2) < 0 else (low, (low + high) / 2)
    np.testing.assert_allclose(size, low, rtol=1e-6)
    assert low**3 == pytest.approx(0.9, abs=0.005)
