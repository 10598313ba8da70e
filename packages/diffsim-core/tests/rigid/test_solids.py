"""Solids of contact between bodies: their faces and edges, the manifold of two boxes, and what is degenerate in it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.solids import ball_vertices, box_vertices, polyhedron, prism_vertices

from .host import step, vjp
from .test_dynamics import dynamics

SIZE = np.array([0.1, 0.2, 0.3])
CLOUD = np.random.default_rng(0).standard_normal((30, 3))


@pytest.mark.parametrize(
    ("vertices", "faces", "edges"),
    [(box_vertices(SIZE), 6, 12), (prism_vertices(0.1, 0.2), 18, 48), (ball_vertices(SIZE), 60, 90), (CLOUD, 0, 0)],
)
def test_a_polyhedron_has_its_faces_and_edges(vertices: np.ndarray, faces: int, edges: int) -> None:
    solid = polyhedron(0, vertices)
    assert solid is not None
    points = vertices - solid.centre
    over = points @ solid.planes[:, :3].T - solid.planes[:, 3]
    assert over.max() < 1e-12 and np.abs(over.max(axis=0)).max() < 1e-12
    ends = np.concatenate([solid.segments[:, 0] - solid.segments[:, 1], solid.segments[:, 0] + solid.segments[:, 1]])
    corners = np.unique(ends.round(9), axis=0)
    assert len(corners) - len(solid.segments) + len(solid.planes) == 2  # Euler
    if faces:
        assert (len(solid.planes), len(solid.segments)) == (faces, edges)
    # rounded to r, the edges lie r below their two faces, and below all others
    core = solid.segments + solid.rounding * solid.shrink
    for middle in core[:, 0]:
        below = np.sort(solid.planes[:, 3] - solid.planes[:, :3] @ middle)
        assert below[1] == pytest.approx(solid.rounding, rel=1e-9 if faces in (6, 18) else 0.2)
    assert (np.einsum("ei,ei->e", core[:, 1], solid.segments[:, 1]) > 0).all()


def test_a_flat_set_of_points_is_no_polyhedron() -> None:
    assert polyhedron(0, CLOUD * [1, 1, 0]) is None
    assert polyhedron(0, CLOUD[:3]) is None


BEAM, PLANK, CUBE = 'box" size=".5 .05 .05', 'box" size=".05 .5 .03', 'box" size=".1 .1 .1'
FAULTS = {
    "plank across a beam": (BEAM, PLANK, 0.08, "0 0 0", "0 0"),
    "turned by 45 degrees": (CUBE, CUBE, 0.2, "0 0 45", "0 0"),
    "off centre": (CUBE, CUBE, 0.2, "0 0 0", ".05 .03"),
    "aligned": (CUBE, CUBE, 0.2, "0 0 0", "0 0"),
}
STIFF = ContactParams(kn=2e4, kd=5e3, kt=500.0, mu=1.0)


def scene(fixed: str, moving: str, z: float, euler: str, xy: str) -> str:
    """A shape about the origin, and a free one above it."""
    return f"""<mujoco><worldbody><geom type="{fixed}"/><body pos="{xy} {z}" euler="{euler}"><freejoint/>
        <geom type="{moving}" mass="1"/></body></worldbody></mujoco>"""


def rested(model: RigidModel, q: np.ndarray, steps: int) -> np.ndarray:
    d = dynamics(model, substeps=16)
    q, qd = np.array(q, dtype=np.float64).reshape(-1, model.nq), np.zeros((1, model.nv))
    for _ in range(steps):
        out = step(d, q, qd, np.zeros((1, model.nu)))
        q, qd = out.q, out.qd
    assert np.abs(qd).max() < 0.02
    return q[0]


@pytest.mark.parametrize("name", FAULTS)
def test_boxes_rest_on_boxes(name: str) -> None:
    xml = scene(*FAULTS[name])
    model = load_model(xml, body_contact=True, contact=STIFF)
    q = rested(model, model.q_ref, 300)
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    for _ in range(500):
        mujoco.mj_step(m, d)
    assert np.abs(q[:3] - d.qpos[:3]).max() < 2e-3


CROSSED = """<mujoco><worldbody><geom type="box" size=".5 .05 .05" euler="45 0 0"/>
  <body pos="0 0 {}" euler="0 45 0"><joint type="slide" axis="0 0 1"/><geom type="box" size=".05 .5 .05" mass="1"/>
  </body></worldbody></mujoco>"""


def test_an_edge_rests_on_an_edge() -> None:
    """Two beams on their edges, crosswise: neither has a corner near the other."""
    apart = 2 * 0.05 * 2**0.5
    model = load_model(CROSSED.format(apart), body_contact=True, contact=STIFF)
    height = apart + rested(model, model.q_ref, 90)[0]
    rounded = 2 * (2**0.5 - 1) * float(model.pairs.rounding[0])
    assert apart - rounded - 2e-3 < height < apart


def lift(model: RigidModel, q: np.ndarray) -> np.ndarray:
    """Force and torque of contact on a free body, ``[N, 6]``, at each of the places ``[N, 7]``."""
    n = len(q)
    return dynamics(model, substeps=1).probe(q, np.zeros((n, 6)), np.zeros((n, 0))).force


def turned(axis: str, angle: float) -> list[float]:
    unit = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}[axis]
    return [np.cos(angle / 2), *(np.sin(angle / 2) * np.array(unit))]


def weightless(fixed: str, moving: str) -> RigidModel:
    xml = scene(fixed, moving, 0.0, "0 0 0", "0 0").replace("<worldbody>", '<option gravity="0 0 0"/><worldbody>')
    return load_model(xml, body_contact=True, contact=STIFF)


def test_the_stiffness_of_a_pair_does_not_depend_on_how_many_edges_touch() -> None:
    depth = 2e-3
    expected = STIFF.kn * depth  # type: ignore[operator]
    for name, (fixed, moving, z, _, _) in FAULTS.items():
        model = weightless(fixed, moving)
        for yaw in (0.0, 0.3, np.pi / 4):
            for shift in (0.0, 0.04):
                q = np.array([shift, shift / 2, z - depth, *turned("z", yaw)])
                force = lift(model, q[None])[0, :3]
                assert np.abs(force[:2]).max() < 0.03 * expected, name
                assert 0.9 * expected < force[2] < 1.001 * expected, (name, yaw, shift)


LYING = 'capsule" fromto="-.4 0 0 .4 0 0" size=".1'


@pytest.mark.parametrize(
    ("fixed", "moving", "place"),
    [
        (LYING, LYING, lambda s: [0.3, 0, 0.19, *turned("z", s)]),
        (LYING, LYING, lambda s: [0.3, 0, 0.19, *turned("y", 0.1 * s)]),
        ('box" size=".5 .2 .1', LYING, lambda s: [0.3, 0, 0.19, *turned("y", 0.1 * s)]),
        (CUBE, CUBE, lambda s: [0.02, 0.05, 0.195, *turned("z", s)]),
        (CUBE, CUBE, lambda s: [s, 0, 0.195, *turned("x", 0.02)]),
        (BEAM, PLANK, lambda s: [0, 0, 0.078, *turned("y", 0.1 * s)]),
    ],
)
def test_forces_are_continuous(fixed: str, moving: str, place) -> None:
    """Halving the steps along a path through what is degenerate halves the largest change of force and torque."""
    model = weightless(fixed, moving)
    changes = []
    for n in (500, 1000, 2000):
        forces = lift(model, np.array([place(s) for s in np.linspace(-0.1, 0.1, n + 1)]))
        changes.append(np.abs(np.diff(forces, axis=0)).max())
    assert np.abs(forces).max() > 30
    assert changes[2] < 0.65 * changes[1] < 0.5 * changes[0]


@pytest.mark.parametrize(
    ("fixed", "moving", "place"),
    [
        (CUBE, CUBE, [0, 0, 0.197, 1, 0, 0, 0]),
        (CUBE, CUBE, [0.05, 0, 0.197, 1, 0, 0, 0]),
        (BEAM, PLANK, [0, 0, 0.078, 1, 0, 0, 0]),
        (LYING, LYING, [0.3, 0, 0.19, 1, 0, 0, 0]),
        (LYING, LYING, [0, 0, 0.19, 1, 0, 0, 0]),
        ('box" size=".5 .2 .1', LYING, [0.3, 0, 0.19, 1, 0, 0, 0]),
    ],
)
def test_gradients_of_aligned_shapes_are_of_one_side_or_between(fixed: str, moving: str, place: list[float]) -> None:
    model = weightless(fixed, moving)
    d = dynamics(model, substeps=1)
    q, u = np.array(place, dtype=np.float64)[None], np.zeros((1, 0))
    qd = np.array([[0.02, 0.01, -0.05, 0.1, -0.2, 0.1]])
    weights = np.random.default_rng(0).standard_normal((2, 7))
    gradient = vjp(d, q, qd, u, np.zeros((1, 7)), np.ascontiguousarray(weights[:1, :6]))[0][0]
    assert np.isfinite(gradient).all()

    def loss(at: np.ndarray) -> float:
        return float(weights[0, :6] @ step(d, at, qd, u).qd[0])

    h, scale = 1e-6, np.abs(gradient).max()
    for i in range(7):
        e = h * np.eye(7)[i]
        sides = sorted([(loss(q + e) - loss(q)) / h, (loss(q) - loss(q - e)) / h])
        assert sides[0] - 1e-3 * scale < gradient[i] < sides[1] + 1e-3 * scale, i


@pytest.mark.parametrize(
    ("half", "masses"),
    [([0.1, 0.1, 0.005], [1.0, 1.0, 1.0]), ([0.05, 0.05, 0.05], [0.5, 2.0])],
    ids=["plates", "heavy"],
)
def test_aligned_boxes_do_not_sink_through_each_other(half: list[float], masses: list[float]) -> None:
    """Deeper than their rounding: the way out is the face that the other one is above, not the nearest."""
    size, z = " ".join(map(str, half)), half[2]
    boxes = "".join(
        f'<body pos="0 0 {(2 * k + 1) * z}"><freejoint/><geom type="box" size="{size}" mass="{mass}"/></body>'
        for k, mass in enumerate(masses)
    )
    table = '<geom type="box" size="1 1 .1" pos="0 0 -.1"/>'
    model = load_model(f"<mujoco><worldbody>{table}{boxes}</worldbody></mujoco>", body_contact=True)
    q = rested(model, model.q_ref, 200)
    assert (np.diff(q[2::7]) > 1.4 * z).all()
