"""Paths around spheres and cylinders, and through them: against MuJoCo, the twin, and central differences."""

from __future__ import annotations

import mujoco
import numpy as np

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_paths import lengths_and_moments
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import random_states, step, vjp

# ends on the world and on both arms of a floating body; shapes on all three, one with a side site on another link
XML = """<mujoco model="pulleys"><option jacobian="dense"/><worldbody>
    <site name="w0" pos="-.3 .1 .2"/><site name="w1" pos=".35 -.1 -.2"/>
    <geom name="post" type="cylinder" size=".05 .3" pos="0 -.3 .1" euler="20 70 0" contype="0" conaffinity="0"/>
    <body name="base"><freejoint/><geom name="hub" size=".1" contype="0" conaffinity="0"/>
      <site name="b0" pos=".05 -.15 .1"/><site name="above" pos="0 0 .15"/><site name="core" pos=".01 .02 0"/>
      <body name="a" pos=".2 0 0"><joint name="ja" axis="0 1 .2" damping=".1"/>
        <geom name="drum" type="cylinder" size=".06 .2" euler="70 10 0" contype="0" conaffinity="0"/>
        <geom name="ring" size=".03" pos=".15 .02 0" contype="0" conaffinity="0"/>
        <site name="a0" pos=".15 .1 .05"/><site name="a1" pos=".2 -.05 -.1"/><site name="eye" pos=".155 .022 .003"/>
        <body name="c" pos=".3 0 0"><joint name="jc" type="slide" axis="1 .3 0" damping=".1"/>
          <geom size=".04" contype="0" conaffinity="0"/><site name="c0" pos="0 .05 .12"/></body></body>
      <body name="d" pos="-.2 0 0"><joint name="jd" axis="1 0 .5" damping=".1"/>
        <geom type="capsule" size=".03" fromto="0 0 0 -.2 0 0" contype="0" conaffinity="0"/>
        <site name="d0" pos="-.2 .1 0"/><site name="d1" pos="-.1 -.12 .05"/></body></body></worldbody>
  <tendon>
    <spatial name="over"><site site="d0"/><geom geom="hub"/><site site="a0"/></spatial>
    <spatial name="sided"><site site="d1"/><geom geom="hub" sidesite="above"/><site site="a1"/></spatial>
    <spatial name="drum"><site site="b0"/><geom geom="drum"/><site site="c0"/></spatial>
    <spatial name="drum_side"><site site="d0"/><geom geom="drum" sidesite="above"/><site site="c0"/></spatial>
    <spatial name="post"><site site="w0"/><geom geom="post"/><site site="d1"/><pulley divisor="2"/><site site="w1"/>
      <geom geom="hub"/><site site="w0"/></spatial>
    <spatial name="eye"><site site="a1"/><geom geom="ring" sidesite="eye"/><site site="c0"/></spatial>
    <spatial name="bore" stiffness="9" damping=".4"><site site="b0"/><geom geom="drum" sidesite="core_a"/>
      <site site="c0"/></spatial>
  </tendon>
  <actuator><motor tendon="over" gear="-3"/><motor tendon="post" gear="-2"/><position tendon="drum" kp="8" kv=".3"/>
    <muscle tendon="sided" force="7" lengthrange=".2 .8"/><motor tendon="drum_side" gear="-4"/>
    <position tendon="eye" kp="6" kv=".2"/></actuator></mujoco>""".replace(
    '<site name="a0"', '<site name="core_a" pos=".01 .01 -.02"/><site name="a0"'
)


def states(model, n, seed):
    q, qd, u = random_states(model, n, seed, spread=0.5)
    q[:, :3] = 0.15 * np.random.default_rng(seed).standard_normal((n, 3))
    return q, qd, u, np.random.default_rng(seed + 5).uniform(0, 1, (n, model.na))


def engine(model, dtype="float64"):
    return RigidDynamics(model, dt=1e-3, substeps=2, dtype=dtype, threads=1)


def bent(d, t):
    """Whether MuJoCo's path of a tendon has points on a shape."""
    points = d.wrap_obj.reshape(-1)[d.ten_wrapadr[t] : d.ten_wrapadr[t] + d.ten_wrapnum[t]]
    return bool((points >= 0).any())


def test_lengths_levers_and_accelerations_are_mujocos():
    m = mujoco.MjModel.from_xml_string(XML)
    d, r = mujoco.MjData(m), load_model(XML)
    assert [len(r.muscles.wrap_kind), len(r.tendons.wrap_kind)] == [5, 3]
    q, qd, u, act = states(r, 300, 0)
    found = engine(r).probe(q, qd, u, act=act)
    bends = np.zeros((300, m.ntendon), dtype=bool)
    # MuJoCo solves for the way through an opening to 1e-6 only
    for i in range(300):
        d.qpos[:], d.qvel[:], d.ctrl[:], d.act[:] = q[i], qd[i], u[i], act[i]
        mujoco.mj_forward(m, d)
        kin = twin.kinematics(r, q[i])
        for paths, tendons in ((r.muscles, (0, 4, 1, 3)), (r.tendons, (6, 2, 5))):
            lengths, moments = lengths_and_moments(r, *kin, q[i], paths)
            np.testing.assert_allclose(lengths, d.ten_length[[*tendons]], atol=1e-9)
            np.testing.assert_allclose(moments @ qd[i], d.ten_velocity[[*tendons]], atol=2e-5)
        np.testing.assert_allclose(found.qdd[i], d.qacc, atol=1e-5 * (1 + np.abs(d.qacc).max()))
        bends[i] = [bent(d, t) for t in range(m.ntendon)]
    assert (bends.mean(0) > 0.05).all() and (bends[:, :4].mean(0) < 0.99).all()


def test_the_engine_follows_the_twin():
    r = load_model(XML)
    q, qd, u, act = states(r, 24, 1)
    out = step(engine(r), q, qd, u, act)
    for i in range(24):
        expected = twin.control_step_with_muscles(r, q[i], qd[i], act[i], u[i], 1e-3, 2)
        for found, value in zip((out.q[i], out.qd[i], out.act[i]), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-8, atol=1e-8)


def test_gradients_are_those_of_central_differences():
    """In every world; a step of 1e-6 crosses no switch between straight and bent in these states."""
    r = load_model(XML)
    d, n = engine(r), 40
    arrays = states(r, n, 2)
    rng = np.random.default_rng(3)
    bars = [rng.standard_normal(a.shape) for a in (arrays[0], arrays[1], arrays[3])]
    found = vjp(d, *arrays[:3], *bars[:2], arrays[3], bars[2])
    scale = 1 + max(np.abs(g).max() for g in found)
    for k, x in enumerate(arrays):
        for j in range(x.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * 1e-6
                out = step(d, *moved)
                values.append(sum((a * b).sum(1) for a, b in zip((out.q, out.qd, out.act), bars, strict=True)))
            np.testing.assert_allclose(found[k][:, j], (values[0] - values[1]) / 2e-6, atol=1e-6 * scale, rtol=0)


def test_single_precision_and_places_far_away():
    r = load_model(XML.replace('pos="0 -.3 .1" euler', 'pos="0 -30 .1" euler'))
    q, qd, u, act = states(r, 40, 4)
    exact, single = engine(r).probe(q, qd, u, act=act), engine(r, "float32").probe(q, qd, u, act=act)
    close = np.abs(single.force - exact.force).max(1) < 1e-4 * np.abs(exact.force).max()
    assert close.mean() > 0.95  # else within rounding of a switch
