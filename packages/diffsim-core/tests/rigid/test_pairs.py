"""Contact between bodies: distances and filters against MuJoCo, momentum, gradients, rest."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement, product

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, ModelError, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_pairs import pair_contacts

from .host import random_states, step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .trees import TreeOptions, random_tree

SIZES = {"sphere": "0.2", "capsule": "0.1 0.3", "box": "0.2 0.3 0.15"}
COMBINATIONS = list(combinations_with_replacement(SIZES, 2))


def two_bodies(first: str, second: str, static: bool = False, **options) -> RigidModel:
    """Two free shapes without gravity, the second with a hinged arm; or the first fixed to the world."""
    shapes = [f'<geom type="{kind}" size="{SIZES[kind]}" friction="0.7"/>' for kind in (first, second)]
    arm = '<body><joint axis="0 1 0"/><geom size="0.1" pos="0 0.3 0" contype="0" conaffinity="0"/></body>'
    one = shapes[0].replace("/>", ' pos="0.03 0 0.05"/>') if static else f"<body><freejoint/>{shapes[0]}</body>"
    xml = f"""<mujoco><option gravity="0 0 0"/><worldbody>{one}
        <body pos="0 0 0.3"><freejoint/>{shapes[1]}{arm}</body></worldbody></mujoco>"""
    return load_model(xml, body_contact=True, **options)


def tumbled_states(model: RigidModel, n: int, seed: int, spread: float = 0.25):
    """Random states with quaternions of any direction."""
    q, qd, u = random_states(model, n, seed, spread=spread)
    rng = np.random.default_rng(seed)
    for a in model.joint_q[model.joint_type == 0] + 3:
        quat = rng.standard_normal((n, 4))
        q[:, a : a + 4] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
    return q, qd, u


@pytest.mark.parametrize("kinds", COMBINATIONS)
def test_distance_is_mujocos(kinds: tuple[str, str]) -> None:
    """Of spheres; the others begin to touch where MuJoCo's do, but for the rounding of edges against edges."""
    xml = "".join(f'<body><freejoint/><geom type="{k}" size="{SIZES[k]}"/></body>' for k in kinds)
    m = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{xml}</worldbody></mujoco>")
    d = mujoco.MjData(m)
    model = load_model(f"<mujoco><worldbody>{xml}</worldbody></mujoco>", body_contact=True)
    q, _, _ = tumbled_states(model, 300, seed=1, spread=0.35)
    rounded = 3**0.5 * float(model.pairs.rounding[0])
    touching = apart = 0
    for qi in q:
        d.qpos[:] = qi
        mujoco.mj_kinematics(m, d)
        expected = mujoco.mj_geomDistance(m, d, 0, 1, 10.0, None)
        found = pair_contacts(model.pairs, 0, poses(model, qi))
        assert sum(share.part for share in found) == pytest.approx(1.0 if found else 0.0)
        if expected < -1e-3 - rounded:
            assert found
            touching += 1
        elif expected > 1e-8:
            assert not found
            apart += 1
        if "sphere" in kinds and -0.19 < expected < -1e-8:
            assert found[0].contact.d == pytest.approx(expected, abs=1e-8)
    assert touching > 20 and apart > 20


def poses(model: RigidModel, q: np.ndarray, pair: int = 0):
    """Axes and origins of the two links of a pair."""
    kin = twin.kinematics(model, q)
    one, other = (
        (kin.rotation[i], kin.position[i]) if i >= 0 else (np.eye(3), np.zeros(3)) for i in model.pairs.link[pair]
    )
    return one, other


@pytest.mark.parametrize("seed", range(40))
def test_pairs_are_mujocos(seed: int) -> None:
    """MuJoCo's own collision detection with huge margins lists every pair its filters let through."""
    xml = random_tree(seed, TreeOptions(relatives=seed % 2 == 0)).replace(' contype="0" conaffinity="0"', "")
    rng = np.random.default_rng(seed)
    spec = mujoco.MjSpec.from_string(xml)
    for k, geom in enumerate(spec.geoms):
        geom.name, geom.type = f"g{k}", mujoco.mjtGeom.mjGEOM_SPHERE  # boxes far apart are not listed
        geom.contype, geom.conaffinity = (int(x) for x in rng.integers(0, 4, size=2))
    bodies = spec.bodies[1:]
    for k, body in enumerate(bodies):
        body.name = f"b{k}"
    if len(bodies) > 1:
        names = [b.name for b in rng.choice(bodies, size=2, replace=False)]
        spec.add_exclude(bodyname1=names[0], bodyname2=names[1])
    spec.compile()
    xml = spec.to_xml()
    for geom in spec.geoms:
        geom.margin = 100.0
    m = spec.compile()
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    model = load_model(xml, body_contact=True)
    link = {geom.name: geom.link for geom in model.geoms}
    name = [mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_GEOM, g) for g in range(m.ngeom)]
    expected = {frozenset(name[g] for g in pair) for pair in d.contact.geom}
    assert {frozenset(pair) for pair in model.pairs.geom} == {p for p in expected if len({link[g] for g in p}) == 2}


@pytest.mark.parametrize("kinds", COMBINATIONS)
@pytest.mark.parametrize("law", ["paper", "released"])
def test_momentum_is_conserved(kinds: tuple[str, str], law: str) -> None:
    """Equal and opposite forces at one point: the sum of all wrenches on two free trees is zero."""
    model = two_bodies(*kinds, contact_law=law)
    d = dynamics(model, substeps=1)
    q, qd, u = tumbled_states(model, 160, seed=2)
    rest = dynamics(dataclasses.replace(model, pairs=type(model.pairs).none()))
    found, free = d.probe(q, qd, u), rest.probe(q, qd, u)
    touching = np.flatnonzero(found.contacts)
    assert len(touching) > 5
    for i in touching:
        push = found.force[i] - free.force[i]  # contact alone
        kin = twin.kinematics(model, q[i])
        total = np.zeros(6)
        for link in np.flatnonzero(model.joint_type == 0):
            at = model.joint_dof[link]
            turn = kin.rotation[link] @ push[at + 3 : at + 6]
            total += np.concatenate([turn + np.cross(kin.position[link], push[at : at + 3]), push[at : at + 3]])
        assert np.abs(push).max() > 0
        assert np.abs(total).max() < 1e-11 * np.abs(push).max()


@pytest.mark.parametrize("kinds", list(product(SIZES, SIZES)))
@pytest.mark.parametrize(("static", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.03)])
def test_forces_and_gradients(kinds: tuple[str, str], static: bool, smoothing: float) -> None:
    d = dynamics(two_bodies(*kinds, static=static), substeps=2, contact_smoothing=smoothing)
    arrays = tumbled_states(d.model, 40, seed=3)
    found = d.probe(*arrays)
    assert (found.contacts > 0).sum() > 3
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(d.model, *state)) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for i in range(len(arrays[0])):
        scale = max(np.abs(e[i]).max() for e in expected if e.size)
        for a, b in zip(given, expected, strict=True):
            assert a.size == 0 or np.abs(a[i] - b[i]).max() < 1e-6 * scale


def test_parallel_and_coinciding_shapes_give_finite_forces_and_gradients() -> None:
    for kinds in COMBINATIONS:
        model = two_bodies(*kinds)
        d = dynamics(model)
        q = np.tile(model.q_ref, (3, 1))
        q[:, 7:10] = [[0, 0, 0], [0.15, 0, 0], [0, 0.05, 0.1]]
        arrays = q, np.zeros((3, model.nv)), np.zeros((3, model.nu))
        for a in (*step(d, *arrays)[:2], *vjp(d, *arrays, np.ones_like(q), np.ones((3, model.nv)))):
            assert np.isfinite(a).all()


STACK = """<mujoco><worldbody><geom type="plane" size="5 5 1"/>
  <body pos="0 0 0.1"><freejoint/><geom name="low" type="box" size="0.2 0.2 0.1"/></body>
  <body pos="0 0 0.31"><freejoint/><geom name="high" type="{}"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize("top", ['box" size="0.1 0.1 0.1', 'sphere" size="0.1'])
def test_a_stack_comes_to_rest(top: str) -> None:
    gains = ContactParams(kn=2e4, kd=2e5, kt=1e3)
    model = load_model(STACK.format(top), body_contact=True, contact=gains)
    d = dynamics(model, substeps=16)
    q, qd = model.q_ref[None].copy(), np.zeros((1, model.nv))
    for _ in range(150):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
    assert np.abs(qd).max() < 1e-3
    assert q[0, 9] == pytest.approx(0.3, abs=0.02)


def test_off_by_default_with_a_note() -> None:
    xml = STACK.format('sphere" size="0.1')
    model = load_model(xml)
    assert len(model.pairs) == 0
    assert model.notes == ("contact between moving bodies is not simulated",)
    assert load_model(xml, body_contact=True).notes == ()


def test_two_shapes_are_springs_in_series_and_the_world_is_rigid() -> None:
    gains = ContactParams(kn=100.0, kd=40.0, kt=6.0, mu=0.3)
    pairs = two_bodies("sphere", "capsule", contact=gains).pairs
    assert (pairs.kn[0], pairs.kd[0], pairs.kt[0], pairs.mu[0]) == (50.0, 20.0, 3.0, 0.3)
    assert two_bodies("sphere", "capsule", static=True, contact=gains).pairs.kn[0] == 100.0
    assert two_bodies("sphere", "capsule").pairs.mu[0] == 0.7


def test_default_gains_are_those_of_the_lighter() -> None:
    """Be it above or below, times the root of the ratio; within a tree, branches count, or a tenth of the tree."""
    ball = '<body pos="0 0 {}"><freejoint/><geom size="{}" mass="{}"/></body>'
    for masses in ((1, 50), (50, 1)):
        bodies = "".join(ball.format(2 * k, 1, mass) for k, mass in enumerate(masses))
        pairs = load_model(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>", body_contact=True).pairs
        assert pairs.kn[0] == pytest.approx(50**0.5 * 9.81 / 0.005) and pairs.kt[0] == pytest.approx(
            0.05 * 9.81 / 0.005
        )
    for fingers, mass in ((1.0, 1.0), (0.1, 0.52)):
        finger = f'<body pos="{{}} 0 -2"><joint/><geom size="1" mass="{fingers}"/></body>'
        hand = f'<body><freejoint/><geom size="1" mass="5"/>{finger.format(-2)}{finger.format(2)}</body>'
        pairs = load_model(f"<mujoco><worldbody>{hand}</worldbody></mujoco>", body_contact=True).pairs
        assert len(pairs) == 1 and pairs.kn[0] == pytest.approx(mass * 9.81 / 0.005)


def test_too_many_pairs_are_refused_at_once() -> None:
    """A crowd of shapes is neither built nor searched to the end."""
    crowd = '<replicate count="500" offset="1 0 0"><body><freejoint/><geom size="0.1"/></body></replicate>'
    with pytest.raises(ModelError, match="pairs of shapes may touch, at most 20000"):
        load_model(f"<mujoco><worldbody>{crowd}</worldbody></mujoco>", body_contact=True)


OBSTACLE = '<geom name="rock" type="box" size="0.2 0.2 0.2" pos="{} 0 0"/>'
REACHING = """<mujoco><worldbody>{}
  <body><joint axis="0 1 0"/><geom size="0.05" pos="0.4 0 0"/>
    <body pos="0.5 0 0"><joint axis="0 1 0"/><geom name="hand" size="0.1" pos="0.3 0 0"/></body></body>
  </worldbody></mujoco>"""


def test_fixed_obstacles_are_simulated_without_body_contact() -> None:
    """Those within reach, which is 0.9 m from the joint on the world, with all that moves; a slide reaches further."""
    near, far = (load_model(REACHING.format(OBSTACLE.format(x))) for x in (1.2, 1.3))
    assert near.pairs.geom == (("hand", "rock"),)
    assert len(far.pairs) == 0 and len(load_model(REACHING.format(OBSTACLE.format(0.5))).pairs) == 2
    rail = REACHING.replace('<body><joint axis="0 1 0"/>', '<body><joint type="slide" axis="1 0 0" range="-1 1"/>')
    assert len(load_model(rail.format(OBSTACLE.format(1.3))).pairs) == 2
    assert len(load_model(rail.format(OBSTACLE.format(3.5))).pairs) == 0
    off = OBSTACLE.format(0.5).replace("name", 'contype="0" conaffinity="0" name')
    assert len(load_model(REACHING.format(off)).pairs) == 0


def test_without_body_contact_moving_shapes_touch_obstacles_alone() -> None:
    xml = STACK.format('sphere" size="0.1').replace("<geom ", '<geom type="box" size="1 1 .1" pos="0 0 -.2"/><geom ', 1)
    model = load_model(xml)
    assert len(model.pairs) == 2 and (model.pairs.link == [[-1, 0], [1, -1]]).any()
    assert model.notes == ("contact between moving bodies is not simulated",)
    assert len(load_model(xml, body_contact=True).pairs) == 3
