"""The bundled models carry the numbers of the released simulator."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from diffsim_core.io import ContactParams, LimitParams, load_model
from diffsim_core.rigid.model import FloatArray, JointType, RigidModel

DENSITY = 1000.0


def bundled(name: str, **options) -> RigidModel:
    return load_model(str(files("diffsim_core.tasks") / "models" / f"{name}.xml"), **options)


def capsule(radius: float, length: float) -> tuple[float, float, float]:
    """Mass, moment about the long axis, moment across it, of a solid capsule whose ends are ``length`` apart."""
    caps = DENSITY * 4 / 3 * np.pi * radius**3
    tube = DENSITY * np.pi * radius**2 * length
    along = (tube / 2 + caps * 2 / 5) * radius**2
    across = tube * (radius**2 / 4 + length**2 / 12)
    across += caps * (2 / 5 * radius**2 + 3 / 8 * radius * length + length**2 / 4)
    return caps + tube, along, across


def parallel_axis(mass: float, p: FloatArray) -> FloatArray:
    return mass * (p @ p * np.eye(3) - np.outer(p, p))


def elementwise_turned(along: float, across: float, direction: FloatArray) -> FloatArray:
    """``R * I * R^T`` element by element, for the turn about z that takes x to ``direction``."""
    c, s = direction[0], direction[1]
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return R * np.diag([along, across, across]) * R.T


def test_ant_masses_and_joints() -> None:
    model = bundled("ant")
    legs, feet = capsule(0.08, 0.2 * np.sqrt(2))[0], capsule(0.08, 0.4 * np.sqrt(2))[0]
    torso = DENSITY * 4 / 3 * np.pi * 0.25**3 + 4 * legs
    np.testing.assert_allclose(model.link_mass, [torso, *[legs, feet] * 4], rtol=1e-12)
    assert model.link_mass.sum() == pytest.approx(182.2, abs=0.05)
    hinges = [f"{part}_{i}" for i in (1, 2, 3, 4) for part in ("hip", "ankle")]
    assert model.joint_name == ("root", *hinges)
    assert model.actuator_name == tuple(hinges)
    assert list(model.actuator_dof) == list(range(6, 14))
    assert list(model.joint_type) == [JointType.FREE, *[JointType.HINGE] * 8]
    hip, front, back = (-40, 40), (30, 100), (-100, -30)
    ranges = [hip, front, hip, back, hip, back, hip, front]
    np.testing.assert_allclose(np.rad2deg(model.joint_range[1:]), ranges)
    np.testing.assert_array_equal(model.dof_armature, [0] * 6 + [0.05] * 8)
    np.testing.assert_array_equal(model.dof_damping, [0] * 6 + [1.0] * 8)
    np.testing.assert_array_equal(model.actuator_gear, 200)
    np.testing.assert_array_equal(model.limit_stiffness, 1e3)
    np.testing.assert_array_equal(model.limit_damping, 10)
    np.testing.assert_allclose(model.gravity, [0, 0, -9.81])
    assert (model.contact_law, model.limit_law) == ("released", "released")


def test_ant_touches_the_ground_in_25_points() -> None:
    model = bundled("ant")
    assert model.nc == 25
    assert sorted(model.contact_radius) == [0.08] * 24 + [0.25]
    for gains, value in (("kn", 4e4), ("kd", 1e4), ("kt", 3e3), ("mu", 0.75)):
        np.testing.assert_array_equal(getattr(model, f"contact_{gains}"), value)
    assert "contact between moving bodies is not simulated" not in model.notes


def test_ant_inertias_are_the_released_simulators() -> None:
    """Elementwise ``R * I * R^T`` for each capsule, added shape by shape about the running centre of mass (where the
    same product with the identity drops what lay beside the diagonal)."""
    model = bundled("ant")
    directions = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) / np.sqrt(2)
    for i, direction in enumerate(directions):
        for k, length in ((1, 0.2), (2, 0.4)):
            _, along, across = capsule(0.08, length * np.sqrt(2))
            expected = elementwise_turned(along, across, direction)
            np.testing.assert_allclose(model.link_inertia[2 * i + k], expected, atol=1e-9)
    total = DENSITY * 4 / 3 * np.pi * 0.25**3
    inertia, com = 2 / 5 * total * 0.25**2 * np.eye(3), np.zeros(3)
    for direction in directions:
        mass, along, across = capsule(0.08, 0.2 * np.sqrt(2))
        p = 0.1 * np.sqrt(2) * direction
        moved = (total * com + mass * p) / (total + mass)
        inertia = np.diag(np.diag(inertia)) + parallel_axis(total, moved - com)
        inertia += elementwise_turned(along, across, direction) + parallel_axis(mass, moved - p)
        total, com = total + mass, moved
    np.testing.assert_allclose(model.link_inertia[0], inertia, atol=1e-9)
    np.testing.assert_allclose(model.link_com[0], 0, atol=1e-12)


def test_ant_with_the_inertias_of_its_shapes() -> None:
    model = bundled("ant", inertia_law="paper")
    _, along, across = capsule(0.08, 0.4 * np.sqrt(2))
    moments = np.linalg.eigvalsh(model.link_inertia[2])
    np.testing.assert_allclose(moments, [along, across, across], rtol=1e-9)
    assert model.notes == ()


def test_cartpole() -> None:
    model = bundled("cartpole")
    np.testing.assert_allclose(model.link_mass, [50, 2.5], rtol=1e-12)
    assert model.joint_name == ("slider", "pole")
    np.testing.assert_array_equal(model.joint_axis, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(model.link_com[1], [0, 0, 0.5])
    assert model.link_inertia[1, 1, 1] == pytest.approx(2.5 / 12 * (1 + 0.05**2))
    np.testing.assert_array_equal(model.joint_range, [[-4, 4], [-1000, 1000]])
    np.testing.assert_array_equal(model.dof_armature, 0.01)
    np.testing.assert_array_equal(model.actuator_gear, [1000])
    assert (model.nc, model.limit_law) == (0, "released")
    np.testing.assert_array_equal(model.limit_stiffness, 100)
    np.testing.assert_array_equal(model.limit_damping, 1)


def test_keywords_override_the_file_field_by_field() -> None:
    model = bundled("ant", contact=ContactParams(kn=1.0), limits=LimitParams(damping=0.0), contact_law="paper")
    np.testing.assert_array_equal(model.contact_kn, 1)
    np.testing.assert_array_equal(model.contact_kd, 1e4)
    np.testing.assert_array_equal(model.limit_stiffness, 1e3)
    np.testing.assert_array_equal(model.limit_damping, 0)
    assert (model.contact_law, model.limit_law) == ("paper", "released")
