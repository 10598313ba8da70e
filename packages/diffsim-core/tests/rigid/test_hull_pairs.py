"""Cylinders, ellipsoids and meshes against other shapes: MuJoCo's distances and rest heights, twin, gradients."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.io._solids import MAX_VERTICES
from diffsim_core.rigid import twin

from .host import step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_pairs import tumbled_states

POINTS = np.random.default_rng(1).standard_normal((60, 3))
POINTS *= [0.2, 0.25, 0.15] / np.linalg.norm(POINTS, axis=1, keepdims=True)
FEW = POINTS[:14]
ASSETS = "".join(
    f'<mesh name="{name}" vertex="{" ".join(f"{x:.6f}" for x in points.ravel())}"/>'
    for name, points in (("many", POINTS), ("few", FEW))
)
SHAPES = {
    "sphere": 'type="sphere" size="0.2"',
    "capsule": 'type="capsule" size="0.1 0.2"',
    "box": 'type="box" size="0.2 0.25 0.15"',
    "cylinder": 'type="cylinder" size="0.2 0.15"',
    "ellipsoid": 'type="ellipsoid" size="0.2 0.25 0.15"',
    "few": 'type="mesh" mesh="few"',
    "many": 'type="mesh" mesh="many"',
}
ROUND = {"cylinder": 0.004, "ellipsoid": 0.02, "many": 0.02}
"""How far a polyhedron is from its shape at most [m]."""
TOGETHER = [
    ("cylinder", "sphere"),
    ("cylinder", "capsule"),
    ("cylinder", "box"),
    ("cylinder", "cylinder"),
    ("few", "sphere"),
    ("few", "capsule"),
    ("few", "box"),
    ("few", "cylinder"),
    ("few", "few"),
    ("many", "many"),
    ("ellipsoid", "box"),
    ("ellipsoid", "ellipsoid"),
]


def scene(first: str, second: str, gravity: bool = False) -> str:
    """Two free shapes."""
    bodies = "".join(
        f'<body pos="0 0 {0.33 * k}"><freejoint/><geom {SHAPES[kind]} mass="1" friction="0.7"/></body>'
        for k, kind in enumerate((first, second))
    )
    option = "" if gravity else '<option gravity="0 0 0"/>'
    return f"<mujoco>{option}<asset>{ASSETS}</asset><worldbody>{bodies}</worldbody></mujoco>"


@pytest.mark.parametrize("kinds", TOGETHER)
def test_contact_begins_where_mujocos_does(kinds: tuple[str, str]) -> None:
    xml = scene(*kinds)
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    model = load_model(xml, body_contact=True)
    tolerance = sum(ROUND.get(kind, 0.0) for kind in kinds) + 3**0.5 * float(model.pairs.rounding[0]) + 1e-3
    arrays = tumbled_states(model, 200, seed=1, spread=0.25)
    overlap = dynamics(model).probe(*arrays).contacts > 0
    touching = apart = 0
    for qi, found in zip(arrays[0], overlap, strict=True):
        d.qpos[:] = qi
        mujoco.mj_kinematics(m, d)
        expected = mujoco.mj_geomDistance(m, d, 0, 1, 10.0, None)
        if expected < -tolerance:
            assert found
            touching += 1
        elif expected > tolerance:
            assert not found
            apart += 1
    assert touching > 10 and apart > 20


@pytest.mark.parametrize("kinds", TOGETHER)
def test_forces_and_gradients(kinds: tuple[str, str]) -> None:
    d = dynamics(load_model(scene(*kinds), body_contact=True), substeps=2)
    arrays = tumbled_states(d.model, 16, seed=3, spread=0.12)
    found = d.probe(*arrays)
    assert (found.contacts > 0).sum() > 3
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(d.model, *state)) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-8)
    for i in range(len(arrays[0])):
        scale = max(np.abs(e[i]).max() for e in expected if e.size)
        for a, b in zip(given, expected, strict=True):
            assert a.size == 0 or np.abs(a[i] - b[i]).max() < 1e-6 * scale


TABLE = '<geom type="box" size="1 1 0.1" pos="0 0 -0.1"/>'
RESTING = {
    "cylinder upright": (SHAPES["cylinder"], "0 0 0", 0.15),
    "cylinder lying": (SHAPES["cylinder"], "90 0 0", 0.2),
    "mesh": (SHAPES["few"], "0 0 0", 0.2),
}


@pytest.mark.parametrize("name", RESTING)
def test_rest_heights_are_mujocos(name: str) -> None:
    shape, euler, z = RESTING[name]
    body = f'<body pos="0 0 {z + 0.01}" euler="{euler}"><freejoint/><geom {shape} mass="1"/></body>'
    xml = f"<mujoco><asset>{ASSETS}</asset><worldbody>{TABLE}{body}</worldbody></mujoco>"
    model = load_model(xml)
    d = dynamics(model, substeps=16)
    q, qd = model.q_ref[None].copy(), np.zeros((1, 6))
    m = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(m)
    for _ in range(240):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
        for _ in range(8):
            mujoco.mj_step(m, data)
    assert q[0, 2] == pytest.approx(data.qpos[2], abs=0.006)


def test_a_mesh_of_many_corners_keeps_those_that_reach_furthest() -> None:
    model = load_model(scene("many", "few"), body_contact=True)
    edges = [solid.segments for solid in model.pairs.solids]
    corners = [np.unique(np.concatenate([e[:, 0] - e[:, 1], e[:, 0] + e[:, 1]]).round(9), axis=0) for e in edges]
    assert len(FEW) >= len(corners[1]) > 8 and 20 < len(corners[0]) <= MAX_VERTICES
