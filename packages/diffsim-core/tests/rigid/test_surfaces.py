"""Ellipsoids and cylinders on the ground, and ground that is not level."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import HeightField, twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_contact import ground_contact, terrain

from .host import random_states, step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_pairs import tumbled_states

SPRING = ContactParams(kn=2e3, kd=0.0, kt=0.0, mu=0.0)
SHAPES = {"ellipsoid": "0.3 0.2 0.1", "cylinder": "0.3 0.1", "capsule": "0.1 0.2", "box": "0.2 0.1 0.3"}


def world(kind: str, ground: float | HeightField = 0.0, size: str = "", **options) -> RigidModel:
    geom = f'<geom type="{kind}" size="{size or SHAPES[kind]}" pos="0.02 0.01 0.03" euler="10 20 30"/>'
    xml = f"<mujoco><worldbody><body><freejoint/>{geom}</body></worldbody></mujoco>"
    return load_model(xml, ground=ground, **options)


def hills(seed: int = 0) -> HeightField:
    heights = np.random.default_rng(seed).uniform(-0.2, 0.2, (7, 9))
    return HeightField(heights=heights, origin=np.array([-1.0, -0.8]), spacing=np.array([0.25, 0.3]))


def contact(model: RigidModel, c: int, q: np.ndarray):
    kin = twin.kinematics(model, q)
    return ground_contact(model, c, kin.rotation[0], kin.position[0])


def test_height_of_an_ellipsoid_is_mujocos() -> None:
    model = world("ellipsoid")
    xml = f"""<mujoco><worldbody><geom type="plane" size="5 5 1" margin="10"/><body><freejoint/>
        <geom type="ellipsoid" size="{SHAPES["ellipsoid"]}" pos="0.02 0.01 0.03" euler="10 20 30"/></body>
        </worldbody></mujoco>"""
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    for q in tumbled_states(model, 50, seed=0)[0]:
        d.qpos[:] = q
        mujoco.mj_forward(m, d)
        assert d.ncon == 1
        found = contact(model, 0, q)
        assert found.d == pytest.approx(d.contact.dist[0], abs=1e-8)
        np.testing.assert_allclose(found.x[:2], d.contact.pos[0, :2], atol=1e-6)


def cylinder(tilt: float, radius: float = 0.3, half: float = 0.1) -> tuple[RigidModel, np.ndarray]:
    geom = f'<geom type="cylinder" size="{radius} {half}"/>'
    xml = f"<mujoco><worldbody><body><freejoint/>{geom}</body></worldbody></mujoco>"
    return load_model(xml, ground=0.0), np.array([0, 0, 1, np.cos(tilt / 2), np.sin(tilt / 2), 0, 0])


@pytest.mark.parametrize(("tilt", "lowest"), [(0.0, 0.1), (np.pi / 2, 0.3), (np.pi, 0.1)])
def test_a_cylinder_stands_and_rolls_at_its_own_size(tilt: float, lowest: float) -> None:
    model, q = cylinder(tilt)
    assert min(contact(model, c, q).d for c in range(2)) == pytest.approx(1 - lowest, abs=1e-12)


def test_a_cylinders_rim_is_nearly_sharp() -> None:
    """Half way it is short of the sharp edge by no more than 4.5 % of the radius."""
    for tilt in np.linspace(0, np.pi / 2, 40):
        model, q = cylinder(tilt)
        lowest = 1 - min(contact(model, c, q).d for c in range(2))
        sharp = 0.3 * np.sin(tilt) + 0.1 * np.cos(tilt)
        assert sharp - 0.045 * 0.3 < lowest <= sharp + 1e-12


def test_a_thin_disc_is_one_ellipsoid() -> None:
    model = world("cylinder", size="0.3 0.01")
    assert model.nc == 1
    np.testing.assert_array_equal(model.contact_size, [[0.3, 0.3, 0.01]])


@pytest.mark.parametrize("kind", ["ellipsoid", "cylinder"])
def test_normal_force_is_the_slope_of_an_energy(kind: str) -> None:
    """Without damping and friction the force is minus the gradient of ``kn d^2 / 2``: nothing is gained by tumbling."""
    model = world(kind, contact=SPRING)
    q, _, _ = tumbled_states(model, 30, seed=1)
    q[:, 2] = 0.1
    for qi in q:

        def energy(e: np.ndarray, qi: np.ndarray = qi) -> float:
            moved = twin.integrate(model, qi, e, dt=1.0)
            return sum(1e3 * min(contact(model, c, moved).d, 0) ** 2 for c in range(model.nc))

        slope = np.array([(energy(1e-6 * e) - energy(-1e-6 * e)) / 2e-6 for e in np.eye(6)])
        tau = twin.contact_forces(model, twin.kinematics(model, qi), np.zeros(6))
        np.testing.assert_allclose(tau, -slope, atol=1e-6 * (1 + np.abs(slope).max()))
        assert np.abs(slope).max() > 1


def test_a_wheel_rolls_without_slip_to_the_speed_of_its_axle() -> None:
    """A disc set down spinning: friction moves it until speed = spin * radius, a third of the first spin's."""
    xml = """<mujoco><worldbody><geom type="plane" size="5 5 1" friction="1"/><body pos="0 0 0.3">
        <joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 0 1"/><joint axis="0 1 0"/>
        <geom type="cylinder" size="0.3 0.1" euler="90 0 0"/></body></worldbody></mujoco>"""
    model = load_model(xml)
    d = dynamics(model, substeps=16)
    q, qd = np.zeros((1, 3)), np.array([[0, 0, 9.0]])
    for _ in range(200):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
    assert qd[0, 0] == pytest.approx(0.3 * qd[0, 2], rel=1e-3)
    assert qd[0, 2] == pytest.approx(9.0 / 3, rel=0.02)


def test_terrain_passes_through_samples_and_is_exact_for_quadratics() -> None:
    field = hills()
    for (iy, ix), height in np.ndenumerate(field.heights):
        x, y = field.origin + field.spacing * [ix, iy]
        assert terrain(field, x, y)[0] == pytest.approx(height, abs=1e-12)
    x, y = np.meshgrid(np.arange(8) * 0.25, np.arange(6) * 0.5)
    bowl = HeightField(heights=x**2 + 0.5 * x * y - y, origin=np.zeros(2), spacing=np.array([0.25, 0.5]))
    for x, y in np.random.default_rng(0).uniform([0.3, 0.6], [1.4, 1.9], (20, 2)):
        height, slope = terrain(bowl, x, y)
        assert height == pytest.approx(x**2 + 0.5 * x * y - y, abs=1e-12)
        np.testing.assert_allclose(slope, [2 * x + 0.5 * y, 0.5 * x - 1], atol=1e-12)


def test_slope_of_terrain_is_continuous_and_ends_level() -> None:
    field = hills()
    for edge in np.arange(-1.25, 1.5, 0.25):
        below, above = (terrain(field, edge + e, 0.13)[1] for e in (-1e-9, 1e-9))
        np.testing.assert_allclose(below, above, atol=1e-6)
    far, nearer = terrain(field, 50.0, 0.1), terrain(field, 2.0, 0.1)
    assert far[0] == nearer[0] and far[1][0] == 0


@pytest.mark.parametrize("kind", SHAPES)
def test_level_terrain_is_the_plane(kind: str) -> None:
    level = HeightField(heights=np.full((3, 4), 0.05), origin=np.zeros(2), spacing=np.ones(2))
    plane, field = world(kind, 0.05), world(kind, level)
    arrays = tumbled_states(plane, 20, seed=2)
    a, b = (dynamics(m).probe(*arrays) for m in (plane, field))
    assert (a.contacts > 0).sum() > 5 and np.array_equal(a.contacts, b.contacts)
    np.testing.assert_allclose(a.qdd, b.qdd, rtol=1e-9, atol=1e-8)


def test_a_slope_is_a_plane_with_gravity_turned() -> None:
    """A ball on an even slope, against level ground in axes turned by the same angle."""
    xml = '<mujoco><option gravity="{}"/><worldbody><body><freejoint/><geom size="0.1"/></body></worldbody></mujoco>'
    angle, far = 0.3, np.arange(-3, 4) * 1.0
    c, s = np.cos(angle), np.sin(angle)
    slope = HeightField(heights=np.tile(far * np.tan(angle), (7, 1)), origin=np.full(2, -3.0), spacing=np.ones(2))
    hill = load_model(xml.format("0 0 -9.81"), ground=slope)
    level = load_model(xml.format(f"{-9.81 * s} 0 {-9.81 * c}"), ground=0.0)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # axes of the slope as columns of its transpose
    speed = np.array([0.4, 0.2, -0.1])
    start = np.concatenate([turn @ [0.1, 0.2, 0.098], [1.0, 0, 0, 0]])
    here = step(dynamics(hill, 16), start[None], np.concatenate([turn @ speed, np.zeros(3)])[None], np.zeros((1, 0)))
    flat = np.array([[0.1, 0.2, 0.098, 1, 0, 0, 0]])
    there = step(dynamics(level, 16), flat, np.concatenate([speed, np.zeros(3)])[None], np.zeros((1, 0)))
    np.testing.assert_allclose(here.qd[0, :3], turn @ there.qd[0, :3], atol=1e-9)
    np.testing.assert_allclose(here.q[0, :3], turn @ there.q[0, :3], atol=1e-9)


@pytest.mark.parametrize("ground", [0.0, hills()], ids=["plane", "hills"])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("law", ["paper", "released"])
def test_forces_and_gradients(kind: str, ground: float | HeightField, law: str) -> None:
    model = world(kind, ground, contact_law=law)
    d = dynamics(model, substeps=2)
    arrays = tumbled_states(model, 24, seed=3)
    found = d.probe(*arrays)
    assert (found.contacts > 0).sum() > 6
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(model, *state)) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for a, b in zip(given[:2], expected[:2], strict=True):
        assert np.abs(a - b).max(axis=1) == pytest.approx(0, abs=1e-6 * np.abs(b).max())


def test_hfield_of_a_file() -> None:
    xml = """<mujoco><asset><hfield name="h" nrow="3" ncol="4" size="3 2 0.5 0.1" elevation="0 1 2 3 4 5 6 7 8 9 10 8"/>
        </asset><worldbody><geom type="hfield" hfield="h" pos="1 0 -0.2"/><body pos="0 0 1"><freejoint/>
        <geom size="0.1"/></body></worldbody></mujoco>"""
    field = load_model(xml).ground_field
    assert field is not None
    # MuJoCo scales elevations to 0 .. 1 and lists the row of largest y first
    heights = np.array([[8, 9, 10, 8], [4, 5, 6, 7], [0, 1, 2, 3]]) / 10 * 0.5 - 0.2
    np.testing.assert_allclose(field.heights, heights, atol=1e-6)
    np.testing.assert_allclose(field.origin, [-2, -2])
    np.testing.assert_allclose(field.spacing, [2, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heights": [[0.0, 1.0]]}, r"heights has shape \(1, 2\)"),
        ({"heights": [[0, np.nan], [0, 0]]}, "heights has values that are not finite"),
        ({"spacing": [1.0, 0.0]}, "spacing is .* give positive metres"),
        ({"origin": [0.0]}, "origin has shape"),
    ],
)
def test_a_bad_height_field_is_named(change: dict, message: str) -> None:
    good = {"heights": np.zeros((2, 2)), "origin": np.zeros(2), "spacing": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        HeightField(**(good | change))


def test_a_model_without_point_kinds_is_all_round() -> None:
    model = world("capsule")
    plain = dataclasses.replace(
        model, contact_kind=np.zeros(0, int), contact_size=np.zeros((0, 3)), contact_quat=np.zeros((0, 4))
    )
    assert plain.contact_kind.tolist() == [0, 0]
    with pytest.raises(ValueError, match="contact_kind has 1 entries"):
        dataclasses.replace(model, contact_kind=np.zeros(1, int))
    arrays = random_states(model, 3, seed=0)
    assert np.array_equal(step(dynamics(model), *arrays).q, step(dynamics(plain), *arrays).q)
