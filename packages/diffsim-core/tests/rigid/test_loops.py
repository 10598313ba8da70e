"""Closed loops: the engine against the twin, against MuJoCo and finite differences, and against what physics keeps."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import mujoco
import numpy as np
import pytest

from diffsim_core.io import LoopParams, load_model
from diffsim_core.rigid import Loops, RigidDynamics, twin
from diffsim_core.rigid._twin_loops import loop_rows

from . import parametric
from .host import random_states, step, vjp
from .trees import TreeOptions, random_tree

FOUR_BAR = """<mujoco><compiler angle="radian"/>
  <option timestep="0.0005" integrator="implicitfast" iterations="50" tolerance="1e-12"/>
  <default><geom contype="0" conaffinity="0"/><joint axis="0 1 0" damping="0.01"/></default>
  <worldbody>
    <body name="crank" pos="0 0 1"><joint name="a"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.2"/>
      <body name="coupler" pos="0 0 0.2"><joint name="b"/><geom type="capsule" size="0.02" fromto="0 0 0 0.5 0 0.1"/>
        <site name="middle" pos="0.25 0 0.15"/></body></body>
    <body name="rocker" pos="0.5 0 1"><joint name="c"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.3"/></body>
  </worldbody>
  <equality><connect name="close" body1="coupler" body2="rocker" anchor="0.5 0 0.1"
    solref="0.001 1" solimp="0.999 0.9999 0.001"/></equality>
  <actuator><motor joint="a" gear="2" ctrlrange="-1 1"/></actuator>
</mujoco>"""

BEAM = """<mujoco><compiler angle="radian"/><default><geom contype="0" conaffinity="0"/></default><worldbody>
  <body pos="0 0 1"><joint axis="0 1 0"/><geom type="capsule" size="0.03" fromto="0 0 0 0.5 0 0"/>
    <body name="tip" pos="0.5 0 0"><joint type="ball"/><geom type="box" size="0.1 0.1 0.1"/></body></body>
  <body name="post" pos="1 0 1"><joint axis="0 1 0" stiffness="4000" damping="80"/>
    <geom type="box" size="0.05 0.05 0.05"/></body>
  </worldbody><equality><weld body1="tip" body2="post"/></equality></mujoco>"""


def with_random_loops(m, seed, n=2, stiffness=40.0, damping=2.0):
    """A model with connections and welds between random links, the world among them."""
    rng = np.random.default_rng(seed)
    links = np.array([rng.choice(np.arange(-1, m.nl), 2, replace=False) for _ in range(n)])
    welded = np.arange(n) % 2
    loops = Loops(
        name=tuple(f"loop{i}" for i in range(n)),
        link=links,
        pos=rng.normal(size=(n, 2, 3)) * 0.3,
        quat=rng.normal(size=(n, 2, 4)),
        stiffness=rng.uniform(0.5, 1, n) * stiffness,
        damping=rng.uniform(0.5, 1, n) * damping,
        torsion=welded * 0.2 * stiffness,
        torsion_damping=welded * 0.2 * damping,
    )
    return dataclasses.replace(m, loops=loops)


def model_of(seed, **options):
    tree = load_model(random_tree(seed, TreeOptions(max_bodies=5)))
    return with_random_loops(tree, seed, **options)


@pytest.mark.parametrize("integrator", ["implicit", "explicit"])
@pytest.mark.parametrize("seed", range(12))
def test_control_step_equals_twin(seed, integrator):
    m = model_of(seed)
    d = RigidDynamics(m, dt=0.004, substeps=3, dtype="float64", integrator=integrator)
    q, qd, u = random_states(m, 3, seed)
    out = step(d, q, qd, u)
    for i in range(len(q)):
        expected = twin.control_step(m, q[i], qd[i], u[i], d.dt, d.substeps, integrator)
        np.testing.assert_allclose(out.q[i], expected[0], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("integrator", ["implicit", "explicit"])
@pytest.mark.parametrize("seed", range(12))
def test_gradient_is_that_of_central_differences(seed, integrator):
    m = model_of(seed)
    d = RigidDynamics(m, dt=0.01, substeps=2, dtype="float64", integrator=integrator)
    rng = np.random.default_rng(seed)
    q, qd, u = random_states(m, 1, seed)
    gq, gqd = rng.normal(size=q.shape), rng.normal(size=qd.shape)
    found = vjp(d, q, qd, u, gq, gqd)
    direction = [rng.normal(size=x.shape) for x in (q, qd, u)]

    def loss(t):
        out = step(d, *(x + t * e for x, e in zip((q, qd, u), direction, strict=True)))
        return float((gq * out.q).sum() + (gqd * out.qd).sum())

    h = 1e-5
    expected = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
    assert abs(sum((g * e).sum() for g, e in zip(found, direction, strict=True)) - expected) < 1e-7 * abs(expected)


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_what_the_backward_pass_is_left_does_not_change_it(memory):
    m = model_of(3)
    q, qd, u = random_states(m, 2, 3)
    given = [
        vjp(RigidDynamics(m, dt=0.01, substeps=2, dtype="float64", memory=kind), q, qd, u, q, qd)
        for kind in ("fast", memory)
    ]
    for a, b in zip(*given, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_closures_within_a_robot_neither_push_nor_turn_it(seed):
    """No wrench on the whole, whatever the gaps: moving everything rigidly moves no row."""
    tree = load_model(random_tree(seed + 20, TreeOptions(free_only=True)))
    if tree.nl < 3:
        pytest.skip("a tree of one link has no loop")
    m = with_random_loops(tree, seed, n=1)
    m = dataclasses.replace(m, loops=dataclasses.replace(m.loops, link=np.array([[m.nl - 2, m.nl - 1]])))
    q, qd, u = random_states(m, 1, seed)
    d = [RigidDynamics(x, dt=0.01, substeps=1, dtype="float64") for x in (m, tree)]
    force = [x.probe(q, qd, u).force[0] for x in d]
    assert np.abs(force[0] - force[1]).max() > 1e-3
    np.testing.assert_allclose(force[0][:6], force[1][:6], atol=1e-10)
    kin = twin.kinematics(m, q[0])
    np.testing.assert_allclose(loop_rows(m, *kin).jacobian[:, :6], 0, atol=1e-12)


def swung(m, substeps, steps, dt=1 / 60, dtype="float64", amplitude=0.0):
    d = RigidDynamics(m, dt=dt, substeps=substeps, dtype=dtype)
    q, qd = m.q_ref[None].astype(dtype), np.zeros((1, m.nv), dtype)
    path = []
    for t in range(steps):
        out = step(d, q, qd, np.full((1, m.nu), amplitude * np.sin(0.1 * t), dtype))
        assert out.ok.all()
        q, qd = out.q, out.qd
        path.append((q[0].astype(np.float64), qd[0].astype(np.float64)))
    return path


def leaning(m):
    return dataclasses.replace(m, gravity=np.array([4.0, 0, -9]))


def place(m, q):
    kin = twin.kinematics(m, q)
    site = m.sites[0]
    return kin.position[site.link] + kin.rotation[site.link] @ site.pos


def gap(m, q):
    return np.linalg.norm(loop_rows(m, *twin.kinematics(m, q)).gap)


def test_four_bar_moves_as_in_mujoco():
    """A second of swinging and pushing: the coupler stays within a millimetre of MuJoCo's."""
    m = load_model(FOUR_BAR)
    reference = mujoco.MjModel.from_xml_string(FOUR_BAR)
    data = mujoco.MjData(reference)
    worst = 0.0
    for t, (q, _) in enumerate(swung(m, 64, 60, amplitude=0.1)):
        data.ctrl[:] = 0.1 * np.sin(0.1 * t)
        while data.time < (t + 1) / 60 - 1e-9:
            mujoco.mj_step(reference, data)
        mujoco.mj_kinematics(reference, data)
        worst = max(worst, float(np.abs(place(m, q) - data.site_xpos[0]).max()))
        assert gap(m, q) < 5e-4
    assert worst < 1e-3
    assert np.abs(q - m.q_ref).max() > 0.5


def test_sixteen_substeps_are_stable_at_any_stiffness():
    for stiffness in (1e5, 1e7, 1e9):
        m = load_model(FOUR_BAR, loops=LoopParams(stiffness=stiffness))
        assert all(gap(m, q) < 1e-3 for q, _ in swung(m, 16, 60, amplitude=0.3))


def test_explicit_substeps_are_as_many_as_a_loop_asks_for():
    m = load_model(FOUR_BAR, loops=LoopParams(stiffness=1e5, damping=100.0))
    d = RigidDynamics(m, dt=1 / 60, substeps="auto", dtype="float64", integrator="explicit")
    implicit = RigidDynamics(m, dt=1 / 60, substeps="auto", dtype="float64")
    assert implicit.substeps == 16 < d.substeps
    q, qd = m.q_ref[None].copy(), np.zeros((1, m.nv))
    for _ in range(30):
        out = step(d, q, qd, np.full((1, 1), 0.3))
        q, qd = out.q, out.qd
    assert out.ok.all()
    assert gap(m, q[0]) < 0.02
    with pytest.warns(UserWarning, match='equality "close"'):
        RigidDynamics(m, dt=1 / 60, substeps=4, dtype="float64", integrator="explicit")


def test_single_precision_follows_double():
    m = load_model(FOUR_BAR)
    paths = [swung(m, 16, 60, dtype=dtype, amplitude=0.1) for dtype in ("float32", "float64")]
    for (a, _), (b, _) in zip(*paths, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_energy_of_a_swinging_loop_falls():
    m = leaning(load_model(FOUR_BAR))
    energies = [twin.energy(m, q, qd) for q, qd in swung(m, 64, 120)]
    total = np.array([e.kinetic + e.potential for e in energies])
    assert (np.diff(total) < 1e-6).all()
    assert total[-1] < total[0] - 0.1


def test_error_falls_with_the_length_of_the_substep():
    m = leaning(load_model(FOUR_BAR))
    fine = swung(m, 1024, 12)[-1][0]
    errors = [np.abs(swung(m, n, 12)[-1][0] - fine).max() for n in (32, 64, 128)]
    ratios = [a / b for a, b in pairwise(errors)]
    assert all(1.8 < ratio < 2.4 for ratio in ratios), errors


def test_a_weld_holds_a_body_at_the_end_of_two_arms():
    """A beam between two hinged arms, welded to one, under gravity: its weld gives way by less than a millimetre."""
    m = load_model(BEAM)
    q, qd = swung(m, 16, 60)[-1]
    rows = loop_rows(m, *twin.kinematics(m, q))
    assert np.abs(rows.gap[:3]).max() < 1e-3
    assert np.abs(rows.gap[3:]).max() < 1e-3
    assert np.abs(qd).max() < 1e-2


COUPLED = FOUR_BAR.replace(
    '<body name="rocker"',
    '<body name="gear" pos="-0.3 0 1"><joint name="d"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.2"/></body>'
    '<body name="rocker"',
).replace("</equality>", '<joint joint1="d" joint2="a" polycoef="0 -0.7 0.2 0 0"/></equality>')


def test_a_loop_with_a_coupled_joint_moves_as_the_twin_and_has_its_gradient():
    m = load_model(COUPLED)
    assert len(m.couplings) == 1 and m.loops.n == 1 and m.nv == 3
    check_step_and_gradient(m, RigidDynamics(m, dt=0.01, substeps=3, dtype="float64"))


def check_step_and_gradient(m, d):
    rng = np.random.default_rng(0)
    q, qd = m.q_ref[None] + 1e-3 * rng.normal(size=(1, m.nq)), rng.normal(size=(1, m.nv))
    u = np.full((1, m.nu), 0.4)
    out = step(d, q, qd, u)
    expected = twin.control_step(m, q[0], qd[0], u[0], d.dt, d.substeps)
    np.testing.assert_allclose(out.q[0], expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(out.qd[0], expected[1], rtol=1e-7, atol=1e-7)
    gq, gqd = rng.normal(size=q.shape), rng.normal(size=qd.shape)
    found, direction = vjp(d, q, qd, u, gq, gqd), [rng.normal(size=x.shape) for x in (q, qd, u)]

    def loss(t):
        out = step(d, *(x + t * e for x, e in zip((q, qd, u), direction, strict=True)))
        return float((gq * out.q).sum() + (gqd * out.qd).sum())

    h = 1e-5
    expected = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
    assert abs(sum((g * e).sum() for g, e in zip(found, direction, strict=True)) - expected) < 1e-6 * abs(expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_place_of_a_loop_in_the_world_is_an_input_with_a_gradient(seed):
    """As a mocap body has it: each world's place is what its row of parameters says, and its cotangent is right."""
    m = model_of(seed)
    m = dataclasses.replace(m, loops=dataclasses.replace(m.loops, link=np.array([[-1, 0], [m.nl - 1, -1]])))
    d = RigidDynamics(m, dt=0.01, substeps=2, dtype="float64", parameters=["loop_place", "gravity"])
    rng = np.random.default_rng(seed)
    q, qd, u = random_states(m, 1, seed)
    params = d.parameters.nominal[None] + 0.2 * rng.normal(size=(1, 9))
    out = parametric.step(d, q, qd, params, u)
    moved = d.parameters.apply(params[0])
    expected = twin.control_step(moved, q[0], qd[0], u[0], d.dt, d.substeps)
    np.testing.assert_allclose(out.q[0], expected[0], rtol=1e-9, atol=1e-10)
    gq, gqd = rng.normal(size=q.shape), rng.normal(size=qd.shape)
    found = parametric.vjp(d, q, qd, params, u, (gq, gqd))[2]
    for j in range(6):
        e = 1e-5 * np.eye(9)[j]
        up, down = (parametric.step(d, q, qd, params + sign * e, u) for sign in (1, -1))
        slope = ((gq * (up.q - down.q)).sum() + (gqd * (up.qd - down.qd)).sum()) / 2e-5
        assert abs(found[0, j] - slope) < 1e-6 * max(abs(slope), 0.01)
