"""What every material promises, those of the package and one that is added here."""

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
from diffsim_mpm import MATERIALS, Material, MaterialProbe, check_material, register_material
from diffsim_mpm._probe import probe_kernels
from diffsim_mpm.material_check import DEFORMATIONS, differences, perturbed, rotations, stretched
from diffsim_mpm.materials import compiled_materials

from .own import KELVIN_VOIGT

ELASTIC = ("fixed_corotated", "neo_hookean", "von_mises", "drucker_prager", "fluid", "kelvin_voigt")
INVERTIBLE = ("fixed_corotated", "von_mises", "drucker_prager", "kelvin_voigt")


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_values_of_anything(dtype):
    """To rounding, whatever they are: U diag(s) V^T is F, V a rotation, and the columns of U diag(s) are orthogonal."""
    header, like, n = KELVIN_VOIGT.header.with_name("decomposed.h"), MATERIALS["neo_hookean"], 2000
    wide = np.exp(np.random.default_rng(11).uniform(-12, 2, (n, 1, 3)))
    many = [
        rotations(n, 12) * wide @ rotations(n, 13),
        np.stack([np.diag(s) for s in ((1, 2, 3), (3, 1, 2), (1, 1, 1))]),
    ]
    F = np.concatenate([*many, *DEFORMATIONS.values(), stretched(1.2, 0.9, -0.3)]).astype(dtype)
    out = MaterialProbe(dataclasses.replace(like, name="decomposed", header=header), dtype=dtype).stress(F)
    F, V, scaled = (a.astype(np.float64) for a in (F, out.F, out.tau))
    size, close = np.linalg.norm(F, axis=(1, 2)), 8 * np.finfo(dtype).eps
    assert (np.abs(scaled @ transposed(V) - F).max(axis=(1, 2)) < close * size).all()
    assert np.abs(V @ transposed(V) - np.eye(3)).max() < close and np.linalg.det(V).min() > 0
    gram = transposed(scaled) @ scaled
    lengths = np.linalg.norm(scaled, axis=1)
    assert (np.abs(gram - gram * np.eye(3)) <= close * lengths[:, :, None] * lengths[:, None, :]).all()
    assert (np.diff(lengths) <= close * size[:, None]).all() and ((out.h < 0) == (np.linalg.det(F) < 0)).all()


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
