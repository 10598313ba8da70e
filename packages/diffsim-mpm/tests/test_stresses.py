"""Each material against what is known of it: closed forms, yield surfaces, cones, pressures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diffsim_mpm import MATERIALS, MaterialProbe, twin_materials
from diffsim_mpm.material_check import perturbed, stretched

SOLID = ("fixed_corotated", "neo_hookean", "von_mises", "drucker_prager")


def transposed(A: Any) -> Any:
    return np.swapaxes(A, -1, -2)


def deviator(A: Any) -> Any:
    return A - np.trace(A, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)


def norm(A: Any) -> Any:
    return np.linalg.norm(A, axis=(-2, -1))


@pytest.mark.parametrize("name", SOLID)
def test_small_strains_are_linear_elasticity(name):
    """2 mu eps + lam tr(eps) I; what is left over falls with the square of the strain."""
    probe = MaterialProbe(name)
    p = probe.material.row(**({"yield_stress": math.inf} if name == "von_mises" else {}))
    mu, lam = twin_materials.lame(p[0], p[1])
    rng = np.random.default_rng(9)
    A = 0.1 * rng.standard_normal((16, 3, 3)) - np.eye(3)  # compressed, for sand
    eps = (A + transposed(A)) / 2
    linear = 2 * mu * eps + lam * np.trace(eps, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    over = [np.abs(probe.stress(np.eye(3) + t * A, p).tau / t - linear).max() / mu for t in (1e-3, 5e-4)]
    assert over[0] < 0.05 and over[0] / over[1] == pytest.approx(2, rel=0.02)


def test_simple_shear_and_uniaxial_stretch_of_rubber():
    p = MATERIALS["neo_hookean"].row(E=3e3, nu=0.4)
    mu, lam = twin_materials.lame(*p)
    shear, stretch = np.eye(3)[None].copy(), np.diag([1.7, 1, 1])[None]
    shear[0, 0, 1] = 0.6
    tau = MaterialProbe("neo_hookean").stress(shear, p).tau[0]
    np.testing.assert_allclose(tau, mu * np.array([[0.36, 0.6, 0], [0.6, 0, 0], [0, 0, 0]]), atol=1e-10)
    tau = MaterialProbe("neo_hookean").stress(stretch, p).tau[0]
    np.testing.assert_allclose(np.diag(tau), lam * math.log(1.7) + mu * np.array([1.7**2 - 1, 0, 0]))
    tau = MaterialProbe("fixed_corotated").stress(stretch, p).tau[0]
    np.testing.assert_allclose(np.diag(tau), lam * 0.7 * 1.7 + 2 * mu * np.array([0.7 * 1.7, 0, 0]), rtol=1e-12)


def test_what_is_inverted_is_pushed_back():
    """F grows along -gtau: the energy of fixed corotated falls on the way through zero volume."""
    p, found = MATERIALS["fixed_corotated"].row(), []
    for s in (-0.4, -0.1, 0.2):
        tau = MaterialProbe("fixed_corotated").stress(np.diag([1, 1, s])[None], p).tau[0]
        found.append(tau[2, 2] / s)  # the first Piola-Kirchhoff stress
    assert max(found) < 0


def test_plasticine_returns_to_the_yield_surface():
    probe, F = MaterialProbe("von_mises"), perturbed(0.2)
    p = probe.material.row()
    trial = MaterialProbe("von_mises").stress(F, probe.material.row(yield_stress=math.inf))
    found = probe.stress(F, p)
    yields = norm(deviator(trial.tau)) > p[2]
    assert yields.all()
    np.testing.assert_allclose(norm(deviator(found.tau)), p[2], rtol=1e-11)
    np.testing.assert_allclose(np.linalg.det(found.F), np.linalg.det(F), rtol=1e-12)
    np.testing.assert_allclose(np.trace(found.tau, axis1=1, axis2=2), np.trace(trial.tau, axis1=1, axis2=2), rtol=1e-9)
    along = (
        (deviator(found.tau) * deviator(trial.tau)).sum((1, 2)) / norm(deviator(found.tau)) / norm(deviator(trial.tau))
    )
    np.testing.assert_allclose(along, 1, rtol=1e-12)
    again = probe.stress(0.999999 * found.F, p)
    assert np.abs(again.F - 0.999999 * found.F).max() < 1e-12, "what lies on the surface yields no more"


def test_uniaxial_yield_of_plasticine():
    """A bar pulled with free sides yields at sqrt(3/2) yield_stress, at the strain of that over E, and stays there."""
    probe = MaterialProbe("von_mises")
    p, F, step = probe.material.row(), np.eye(3), 2e-3
    pulled = []
    for _ in range(60):
        low, high = 0.99, 1.01  # of the sides
        for _ in range(50):
            side = (low + high) / 2
            out = probe.stress((np.diag([math.exp(step), side, side]) @ F)[None], p)
            low, high = (low, side) if out.tau[0, 1, 1] > 0 else (side, high)
        F = out.F[0]
        pulled.append(out.tau[0, 0, 0])
    limit = math.sqrt(1.5) * p[2]
    strain = step * np.arange(1, 61)
    np.testing.assert_allclose(pulled, np.minimum(p[0] * strain, limit), rtol=1e-9)


def test_sand_slides_at_its_friction_angle():
    """In a triaxial test the principal stresses at yield are those of Mohr and Coulomb."""
    angle = math.radians(32)
    probe = MaterialProbe("drucker_prager")
    F = np.diag([0.8, 1.04, 1.04])[None]
    out = probe.stress(F, probe.material.row(friction_angle=angle))
    strong, weak, _ = np.linalg.eigvalsh(-out.tau[0])[::-1]
    assert np.abs(out.F - F).max() > 1e-3, "it did not yield"
    assert (strong - weak) / (strong + weak) == pytest.approx(math.sin(angle), rel=1e-10)
    many = probe.stress(0.9 * perturbed(0.1))
    sine = math.sin(probe.material.row()[2])
    bound = -math.sqrt(2 / 3) * 2 * sine / (3 - sine) * np.trace(many.tau, axis1=1, axis2=2)
    assert (norm(deviator(many.tau)) <= bound * (1 + 1e-9) + 1e-6).all()


def test_sand_keeps_account_of_its_volume():
    """It has no stress while apart, and resists only when it is back to the volume that it had."""
    probe, rng = MaterialProbe("drucker_prager"), np.random.default_rng(10)
    F, h = perturbed(0.2, n=64), 0.2 * rng.standard_normal(64)
    out = probe.stress(F, h=h)
    np.testing.assert_allclose(np.log(np.linalg.det(out.F)) + out.h, np.log(np.linalg.det(F)) + h, atol=1e-12)
    apart = np.log(np.linalg.det(F)) + h >= 0
    assert 10 < apart.sum() < 54 and not out.h[~apart].any()
    assert np.abs(out.tau[apart]).max() < 1e-9 and np.abs(out.F @ transposed(out.F) - np.eye(3))[apart].max() < 1e-12
    pulled = probe.stress(1.1 * np.eye(3)[None])
    for back, resists in ((0.95, False), (0.90, True)):
        assert (probe.stress(back * pulled.F, h=pulled.h).tau[0, 0, 0] < 0) == resists


def test_pressure_and_viscosity_of_the_fluid():
    probe = MaterialProbe("fluid")
    p = probe.material.row(bulk_modulus=2e5, gamma=7, viscosity=4)
    F = stretched(1.02, 0.99, 0.95)
    J = np.linalg.det(F)
    out = probe.stress(F, p)
    np.testing.assert_allclose(out.tau, -(J * 2e5 / 7 * (J**-7 - 1))[:, None, None] * np.eye(3), atol=1e-8)
    np.testing.assert_allclose(out.F, np.cbrt(J)[:, None, None] * np.eye(3), rtol=1e-14)
    C = np.zeros((1, 3, 3))
    C[0, 0, 1] = 3.0
    np.testing.assert_allclose(probe.stress(np.eye(3)[None], p, C=C).tau[0, 0, 1], 4 * 3.0)
    assert np.abs(probe.stress(np.eye(3)[None], p, C=2.0 * np.eye(3)[None]).tau).max() < 1e-12


def test_waves_and_the_stable_step():
    p = MATERIALS["neo_hookean"].row(E=1e4, nu=0.25)
    assert MATERIALS["neo_hookean"].sound_speed(p, 1000.0) == pytest.approx(math.sqrt(1e4 * 1.2 / 1000))
    expected = 0.9 * 0.02 / math.sqrt(20)  # 3 lam + 2 mu = 2 E
    assert MATERIALS["neo_hookean"].stable_dt(p, 1000.0, 0.02) == pytest.approx(expected, rel=1e-4)
    water = MATERIALS["fluid"]
    assert water.sound_speed(water.row(bulk_modulus=1e5), 1000.0) == pytest.approx(10)
    still = water.stable_dt(water.row(bulk_modulus=1e-3, viscosity=1e4), 1000.0, 0.02)
    assert still == pytest.approx(0.9 * 0.02**2 / 40, rel=1e-4)
    w, c = math.sqrt(4 * 3 * 5e4 / 1000) / 0.02, 8 * 5 / 1000 / 0.02**2
    both = water.stable_dt(water.row(viscosity=5.0), 1000.0, 0.02)
    assert both == pytest.approx(0.9 * (math.sqrt(c * c + 4 * w * w) - c) / w**2, rel=1e-3)


@pytest.mark.parametrize("material", ["fixed_corotated", "neo_hookean", "von_mises", "drucker_prager"])
def test_the_stiffest_change(material):
    for nu in (-0.5, 0.0, 0.2, 0.45):
        p = MATERIALS[material].row(E=1e4, nu=nu)
        expected = 1e4 * max(1 / (1 - 2 * nu), 1 / (1 + nu))
        assert MATERIALS[material].tangent(np.tile(p, (2, 1))) == pytest.approx(expected, rel=1e-4)
