"""Planes beside the ground, tilted or level, and what friction and margin of a file come to."""

from __future__ import annotations

import dataclasses
from typing import Any

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import RigidModel, twin
from diffsim_core.rigid.model import FloatArray

from .host import Step, step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_hulls import EGG
from .test_pairs import tumbled_states

SOFT = ContactParams(kn=2e3, kd=300.0, kt=50.0, mu=0.8)
STIFF = ContactParams(kn=3e4, kd=1e5, kt=300.0)
SHAPES = {
    "sphere": 'type="sphere" size=".1"',
    "box": 'type="box" size=".1 .07 .05"',
    "ellipsoid": 'type="ellipsoid" size=".1 .07 .05"',
    "mesh": 'type="mesh" mesh="m"',
}
WALL = '<geom name="wall" type="plane" size="1 1 1" pos="-.3 0 0" euler="0 70 0"/>'
FLOOR = '<geom name="floor" type="plane" size="1 1 1"/>'


def scene(planes: str, geom: str, *, more: str = "", option: str = "", pos: str = "0 0 .1") -> str:
    return f"""<mujoco>{option}<asset>{EGG}</asset><worldbody>{planes}
      <body pos="{pos}"><freejoint/><geom name="s" {geom} mass="1"/></body></worldbody>{more}</mujoco>"""


def run(model: RigidModel, seconds: float, qd: Any = (0, 0, 0, 0, 0, 0)) -> Step:
    d = dynamics(model, substeps=16)
    q, qd = model.q_ref[None].copy(), np.array([qd], dtype=np.float64)
    for _ in range(round(seconds / d.dt)):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
    return out


def mujocos(xml: str, seconds: float, qd: Any = (0, 0, 0, 0, 0, 0)) -> Any:
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    d.qvel[:] = qd
    for _ in range(round(seconds / m.opt.timestep)):
        mujoco.mj_step(m, d)
    return d


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tilted_plane_is_a_level_one_with_gravity_turned(shape: str) -> None:
    angle = 0.4
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    half = np.array([np.cos(angle / 2), 0, np.sin(angle / 2), 0])
    tilted = load_model(
        scene(f'<geom type="plane" size="1 1 1" pos="1 2 3" euler="0 {np.degrees(angle)} 0"/>', SHAPES[shape]),
        contact=SOFT,
    )
    gravity = f'<option gravity="{9.81 * s} 0 {-9.81 * c}"/>'
    level = load_model(scene(FLOOR, SHAPES[shape], option=gravity), contact=SOFT)
    assert tilted.ground_planes.shape == (1, 4) and level.ground_planes.shape == (0, 4)
    q, qd, u = tumbled_states(level, 12, seed=0)
    q[:, 2] = 0.05
    there = q.copy()
    there[:, :3] = q[:, :3] @ turn.T + [1, 2, 3]
    there[:, 3:] = [twin.quat_mul(half, x) for x in q[:, 3:]]
    moving = qd.copy()
    moving[:, :3] = qd[:, :3] @ turn.T
    a, b = (dynamics(m).probe(*arrays) for m, arrays in ((tilted, (there, moving, u)), (level, (q, qd, u))))
    assert np.array_equal(a.contacts, b.contacts) and (a.contacts > 0).sum() > 4
    expected = np.concatenate([b.qdd[:, :3] @ turn.T, b.qdd[:, 3:]], axis=1)
    np.testing.assert_allclose(a.qdd, expected, rtol=1e-8, atol=1e-7)


LEVELS = """<geom name="low" type="plane" size="1 1 1" pos="0 0 -.2" contype="1" conaffinity="1"/>
  <geom name="high" type="plane" size="1 1 1" contype="2" conaffinity="2"/>"""


@pytest.mark.parametrize(("mask", "height"), [(1, -0.1), (2, 0.1), (3, 0.1)])
def test_planes_of_different_height_hold_what_touches_them(mask: int, height: float) -> None:
    model = load_model(
        scene(LEVELS, f'{SHAPES["sphere"]} contype="{mask}" conaffinity="{mask}"', pos="0 0 .105"), contact=STIFF
    )
    assert len(model.ground_planes) == (mask == 3)
    assert run(model, 2.0).q[0, 2] == pytest.approx(height, abs=0.002)


def test_a_ball_comes_to_rest_between_a_wall_and_the_floor() -> None:
    xml = scene(FLOOR + WALL, SHAPES["sphere"], option='<option gravity="-3 0 -9"/>')
    found, right = run(load_model(xml, contact=STIFF), 2.0), mujocos(xml, 2.0)
    np.testing.assert_allclose(found.q[0, :3], right.qpos[:3], atol=0.002)
    assert np.abs(found.qd).max() < 0.02


def test_a_plane_beside_a_height_field() -> None:
    field = '<geom type="hfield" hfield="h" pos="0 0 -.3"/>'
    more = '<asset><hfield name="h" nrow="2" ncol="2" size="5 5 .1 .1" elevation="0 0 0 0"/></asset>'
    model = load_model(scene(FLOOR + field, SHAPES["sphere"], more=more), contact=STIFF)
    assert model.ground_field is not None and model.contact_plane.tolist() == [-1, 0]
    assert run(model, 1.0).q[0, 2] == pytest.approx(0.1, abs=0.002)


UNEVEN = '<contact><pair geom1="wall" geom2="s" friction="1 .3 0 0 0"/></contact>'


@pytest.mark.parametrize("shape", ["box", "ellipsoid", "mesh"])
@pytest.mark.parametrize("smoothing", [0.0, 0.02])
def test_forces_and_gradients(shape: str, smoothing: float) -> None:
    model = load_model(scene(FLOOR + WALL, SHAPES[shape] + ' margin=".02"', more=UNEVEN, pos="0 0 0"), contact=SOFT)
    assert set(model.contact_plane) == {-1, 0} and set(model.contact_ratio) == {1, 0.3}
    model = dataclasses.replace(model, contact_smoothing=smoothing)
    d = dynamics(model, substeps=2)
    arrays = tumbled_states(model, 24, seed=3)
    arrays[0][:, 0] -= 0.2
    touching = d.probe(*arrays).contacts
    assert (touching > 1).sum() > 4
    found = d.probe(*arrays)
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(model, *state)) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for a, b in zip(given[:2], expected[:2], strict=True):
        assert np.abs(a - b).max(axis=1) == pytest.approx(0, abs=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_contact_begins_at_the_margin(shape: str) -> None:
    xml = scene(FLOOR.replace("/>", ' margin=".01"/>'), SHAPES[shape] + ' margin=".03"', pos="0 0 .4")
    gap = 0.04
    with_margin, without = (load_model(x, contact=STIFF) for x in (xml, xml.replace("margin", "gap")))
    m = mujoco.MjModel.from_xml_string(xml.replace('margin=".01"', 'margin="9"').replace('margin=".03"', ""))
    d = mujoco.MjData(m)
    for q, _, _ in zip(*tumbled_states(without, 20, seed=2), strict=True):
        q[2] = 0.5
        d.qpos[:] = q
        mujoco.mj_forward(m, d)
        heights = []
        for model in (with_margin, without):
            kin = twin.kinematics(model, q)
            heights.append(min(touch.contact.d for touch in twin.touching(model, kin, np.zeros(6))))
        assert heights[0] == pytest.approx(heights[1] - gap, abs=1e-12)
        assert heights[1] == pytest.approx(d.contact.dist.min(), abs=0.01 if shape == "mesh" else 1e-6)


ATTRIBUTES = {
    "geoms": ('condim="6" friction=".3 .2 .05" margin=".01"', 'condim="4" friction=".5 .01 .02" margin=".02"', "", ""),
    "priority": (
        'condim="3" friction=".3 .2 .05" priority="1" margin=".01"',
        'condim="6" friction=".5 .1 .02"',
        "",
        "",
    ),
    "frictionless": ('condim="1"', 'condim="1"', "", ""),
    "pair": (
        'margin=".01"',
        "",
        '<contact><pair geom1="floor" geom2="s" condim="6" friction=".5 .4 .3 .2 .1" margin=".03"/></contact>',
        "",
    ),
    "override": (
        'margin=".01"',
        'condim="4"',
        "",
        '<option o_friction=".5 .4 .3 .2 .1" o_margin=".04"><flag override="enable"/></option>',
    ),
}


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_friction_and_margin_are_mujocos(case: str) -> None:
    plane, geom, more, option = ATTRIBUTES[case]
    xml = scene(
        FLOOR.replace("/>", f" {plane}/>"), f"{SHAPES['sphere']} {geom}", more=more, option=option, pos="0 0 .09"
    )
    model, right = load_model(xml), mujocos(xml, 0.0)
    mujoco.mj_forward(mujoco.MjModel.from_xml_string(xml), right)
    contact = right.contact
    mu = model.contact_mu[0]
    assert model.contact_radius[0] - 0.1 == pytest.approx(contact.includemargin[0], abs=1e-12)
    condim = int(contact.dim[0])
    if condim == 1:
        assert mu == 0
        return
    expected = np.where(np.arange(5) < {3: 2, 4: 3, 6: 5}[condim], contact.friction[0], 0)
    found = [mu, mu * model.contact_ratio[0], mu * model.contact_spin[0], mu * model.contact_roll[0]]
    np.testing.assert_allclose(found, expected[:4], atol=1e-12)


@pytest.mark.parametrize(("direction", "axis"), [((1, 0), 0), ((0, 1), 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_friction_of_a_pair_differs_along_two_tangents(direction: tuple[int, int], axis: int, turned: bool) -> None:
    """A ball slides along x or y; MuJoCo's elliptic cones have the same law."""
    pair = '<contact><pair geom1="floor" geom2="s" friction=".5 .05 0 0 0"/></contact>'
    plane = FLOOR.replace("/>", ' euler="0 0 30"/>') if turned else FLOOR
    xml = scene(plane, SHAPES["sphere"], more=pair, option='<option cone="elliptic"/>')
    model = load_model(xml, contact=ContactParams(kn=1e4, kd=1e4, kt=300.0))
    speed = (*direction, 0, 0, 0, 0)
    found, right = run(model, 0.1, speed), mujocos(xml, 0.1, speed)
    assert found.qd[0, axis] == pytest.approx(right.qvel[axis], abs=0.02)


def test_a_ratio_on_a_height_field_is_left_out_with_a_note() -> None:
    more = '<asset><hfield name="h" nrow="2" ncol="2" size="5 5 .1 .1" elevation="0 0 0 0"/></asset>' + UNEVEN
    field = '<geom name="wall" type="hfield" hfield="h"/>'
    model = load_model(scene(field, SHAPES["sphere"], more=more))
    assert model.contact_ratio.tolist() == [1]
    assert model.notes == ('hfield geom "wall": friction is the same along both tangents, the first coefficient\'s',)


def test_what_contact_between_bodies_leaves_out_is_noted() -> None:
    ball = '<body pos="{} 0 1"><freejoint/><geom name="{}" size=".1" margin=".02" condim="4"/></body>'
    xml = f"<mujoco><worldbody>{ball.format(0, 'a')}{ball.format(1, 'b')}</worldbody></mujoco>"
    assert load_model(xml, body_contact=True).notes == (
        'contact between bodies leaves out margin: "a" and "b"',
        'contact between bodies leaves out torsional and rolling friction: "a" and "b"',
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contact_plane": [1]}, "contact_plane has 1 to 1; give indices from -1 to 0"),
        ({"ground_planes": [[0, 0, 2.0, 0]]}, "ground_planes has a normal that is not of length 1"),
        (
            {"ground_planes": [[0, 0, 1.0]], "contact_plane": [-1]},
            r"ground_planes has shape \(1, 3\), expected \(n, 4\)",
        ),
        ({"contact_ratio": [0.5], "contact_plane": [-1]}, r"contact_ratio\[0\] is 0.5: tangents are those of a plane"),
        ({"contact_spin": [-1.0]}, r"contact_spin\[0\] is -1"),
    ],
)
def test_a_wrong_plane_is_named(change: dict[str, Any], message: str) -> None:
    model = load_model(scene(WALL, SHAPES["sphere"]))
    arrays: dict[str, FloatArray] = {name: np.array(value) for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        dynamics(dataclasses.replace(model, **arrays))  # pyright: ignore[reportArgumentType]
