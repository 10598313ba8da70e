"""What every material promises, those of the package and one that is added here, and what each is known to do."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import warp as wp
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim_core.entries import struct_name
from diffsim_mpm import (
    MATERIALS,
    Material,
    MaterialProbe,
    check_material,
    compiled_materials,
    register_material,
    twin_materials,
)
from diffsim_mpm._probe import probe_kernels
from diffsim_mpm.material_check import DEFORMATIONS, differences, perturbed, rotations, stretched

from .own import KELVIN_VOIGT

ELASTIC = ("fixed_corotated", "neo_hookean", "von_mises", "drucker_prager", "fluid", "kelvin_voigt")
INVERTIBLE = ("fixed_corotated", "von_mises", "drucker_prager", "kelvin_voigt")
SOLID = ("fixed_corotated", "neo_hookean", "von_mises", "drucker_prager")


@pytest.fixture(params=list(MATERIALS))
def material(request) -> Material:
    return MATERIALS[request.param]


def deformations(material: Material) -> dict[str, Any]:
    """Those that it allows."""
    found = dict(DEFORMATIONS)
    if material.name in INVERTIBLE:
        found |= {"inverted": stretched(1.2, 0.9, -0.3), "inverted, two equal": stretched(1.1, 1.1, -0.5)}
    if material.name == "drucker_prager":
        found |= {f"{name}, pressed": 0.97 * F for name, F in found.items()} | {"pulled apart": 1.1 * perturbed(0.05)}
    return found


def parameters(material: Material) -> Any:
    return material.row(**({"viscosity": 4.0} if material.name == "fluid" else {}))


def transposed(A: Any) -> Any:
    return np.swapaxes(A, -1, -2)


def deviator(A: Any) -> Any:
    return A - np.trace(A, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)


def norm(A: Any) -> Any:
    return np.linalg.norm(A, axis=(-2, -1))


# What all of them promise


def test_the_header_defines_the_struct(material):
    assert f"struct {struct_name(material.name)} " in material.header.read_text()


def test_engine_is_the_twin_and_vjp_the_differences(material):
    """At the undeformed state, at equal singular values, inverted, while it yields and while it does not."""
    found = check_material(material, p=parameters(material), deformations=deformations(material))
    assert found.twin < 1e-12 and found.vjp < 1e-6, found


def test_single_precision_is_the_twin_rounded(material):
    for name, F in deformations(material).items():
        F = F.astype(np.float32)
        one, two = MaterialProbe(material, dtype="float32").stress(F), MaterialProbe(material).stress(F)
        for a, b in zip(one, two, strict=True):
            size = np.abs(two.tau).max() + material.stiffness(material.row()) if b is two.tau else 1
            assert np.abs(a - b).max() < 2e-6 * size, name


def test_what_is_wrong_is_found(tmp_path):
    """An adjoint that takes one parameter for the other, and a twin that forgets the viscosity."""
    header = tmp_path / "kelvin_voigt.h"
    header.write_text(
        KELVIN_VOIGT.header.read_text().replace(
            "gC = plus(gC, twice, splat(p[1]))", "gC = plus(gC, twice, splat(p[0]))"
        )
    )
    found = check_material(dataclasses.replace(KELVIN_VOIGT, header=header))
    assert found.twin < 1e-12 and found.vjp > 1 and found.worst.endswith(", C")
    dry = dataclasses.replace(KELVIN_VOIGT, stress=lambda p, C, F, h: KELVIN_VOIGT.stress(p, 0 * C, F, h))
    found = check_material(dry)
    assert found.twin > 1e-3 and found.vjp < 1e-6


def test_stress_is_the_gradient_of_the_energy(material):
    """tau = dE/dF F^T where nothing flows."""
    p = material.row(**({"yield_stress": math.inf} if material.name == "von_mises" else {}))
    F = 0.85 * perturbed(0.02) if material.name == "drucker_prager" else perturbed(0.2)
    assert material.energy is not None
    energy = material.energy
    found = MaterialProbe(material).stress(F, p)
    (gradient,) = differences(lambda F: energy(p, F), [F], [1e-4])
    if material.name != "fluid":
        assert np.abs(found.F - F).max() == 0, "it flowed"
    assert np.abs(found.tau - gradient @ transposed(F)).max() < 1e-8 * np.abs(found.tau).max()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 1e-3, 0.1, 0.4]))
@pytest.mark.parametrize("name", ELASTIC)
def test_frame_indifference_and_isotropy(name, seed, size):
    """A turned observer sees the stress turned; a turned body without texture has the same stress."""
    probe, F = MaterialProbe(name), 0.97 * perturbed(size, n=4, seed=seed)
    Q, Q2 = rotations(4, seed + 1), rotations(4, seed + 2)
    one, turned = probe.stress(F), probe.stress(Q @ F @ Q2)
    close = 1e-11 * max(float(probe.material.stiffness(probe.material.row())), np.abs(one.tau).max())
    assert np.abs(Q @ one.tau @ transposed(Q) - turned.tau).max() < close
    if name != "fluid":
        assert np.abs(Q @ one.F @ Q2 - turned.F).max() < 1e-12
    assert np.abs(one.tau - transposed(one.tau)).max() < close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_particle_does_not_depend_on_its_lane(material, dtype):
    F = np.concatenate(list(deformations(material).values()))
    rng = np.random.default_rng(8)
    order, gtau = rng.permutation(len(F)), rng.standard_normal(F.shape)
    probe = MaterialProbe(material, dtype=dtype)
    found, moved = probe.stress(F), probe.stress(F[order])
    back, back_moved = probe.vjp(F, gtau), probe.vjp(F[order], gtau[order])
    for a, b in zip((*found, *back), (*moved, *back_moved), strict=True):
        np.testing.assert_array_equal(a[order], b)


@pytest.mark.parametrize("name", INVERTIBLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_degenerate_makes_a_number_that_is_none(name, dtype):
    F = np.concatenate(
        [stretched(*s) for s in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, -1), (1, 1e-8, -1e-8), (0.1, 0.1, 1e-20))]
    )
    probe = MaterialProbe(name, dtype=dtype)
    found = (*probe.stress(F), *probe.vjp(F, np.ones(F.shape), gF=np.ones(F.shape)))
    assert all(np.isfinite(a).all() for a in found)


@pytest.mark.parametrize("arch", [80, 90, 100])
def test_compiles_to_a_cubin(tmp_path, arch):
    module = probe_kernels(compiled_materials(list(MATERIALS)), "float32", on_cuda=True).module
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)
    try:
        wp.compile_aot_module(module, device=None, arch=arch, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    finally:
        wp.set_module_options({"optimization_level": level}, module)
    (cubin,) = tmp_path.glob("*.cubin")
    assert b"probe_stress_vjp_cuda_kernel_forward" in cubin.read_bytes()


# What is known of each


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
    assert MATERIALS["neo_hookean"].stable_dt(p, 1000.0, 0.02) == pytest.approx(0.02 / math.sqrt(12))
    water = MATERIALS["fluid"]
    assert water.sound_speed(water.row(bulk_modulus=1e5), 1000.0) == pytest.approx(10)
    assert water.stable_dt(water.row(viscosity=1e4), 1000.0, 0.02) == pytest.approx(0.02**2 / 60)


# Mistakes


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("neo_hookean", {"nu": 0.5}, "'neo_hookean': nu = 0.5 is out of range; it must be above -1 and below 0.5"),
        ("von_mises", {"nu": -1.0}, "nu = -1 is out of range"),
        ("fixed_corotated", {"E": -2.0}, "E = -2 Pa is out of range; it must be above 0 and finite"),
        ("fixed_corotated", {"E": math.nan}, "E = nan Pa is out of range"),
        ("von_mises", {"yield_stress": 0.0}, "yield_stress = 0 Pa is out of range; it must be above 0"),
        ("drucker_prager", {"friction_angle": 35.0}, "friction_angle = 35 rad is out of range; .* below 1.57"),
        ("fluid", {"viscosity": -1.0}, "viscosity = -1 Pa s is out of range; it must be at least 0 and finite"),
        ("fluid", {"bulk": 1e3}, "unknown parameter of material 'fluid' 'bulk'; did you mean 'bulk_modulus'"),
    ],
)
def test_parameters_out_of_range_are_named(name, values, message):
    with pytest.raises(ValueError, match=message):
        MATERIALS[name].row(**values)


def test_unknown_material_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown material 'neo_hokean'; did you mean 'neo_hookean'"):
        MaterialProbe("neo_hokean")
    with pytest.raises(ValueError, match=r"parameters of shape \(2,\) need a last axis for E, nu, yield_stress"):
        MATERIALS["von_mises"].check(np.ones(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": ()}, "'kelvin_voigt' is already registered"),
        ({"name": "no name"}, "must be an identifier"),
        ({"name": "lost", "header": KELVIN_VOIGT.header.with_name("lost.h")}, "lost.h' does not exist"),
    ],
)
def test_register_material_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        register_material(dataclasses.replace(KELVIN_VOIGT, **changes))
    assert MATERIALS["kelvin_voigt"] == KELVIN_VOIGT and "lost" not in MATERIALS
