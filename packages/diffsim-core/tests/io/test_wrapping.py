"""Tendons that wrap around shapes, simulated or taken as straight."""

from __future__ import annotations

from dataclasses import fields, replace

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_muscles import lengths_and_moments
from diffsim_core.rigid.muscles import Muscles

ARM = """<mujoco model="arm">
  <compiler angle="radian"/>
  <worldbody>
    <site name="blade" pos="-.15 0 .65"/><site name="chest" pos=".03 0 1"/><site name="far" pos=".2 0 .7"/>
    <geom name="pulley" type="cylinder" fromto="0 -.05 .7 0 .05 .7" size=".03" contype="0" conaffinity="0"/>
    <body name="fore" pos="0 0 .7">
      <joint name="elbow" axis="0 -1 0" range="0 2.6" armature=".01" ref="1"/>
      <geom type="capsule" fromto="0 0 0 .3 0 0" size=".03" contype="0" conaffinity="0"/>
      <geom name="knob" size=".02" pos=".15 0 -.02" contype="0" conaffinity="0"/>
      <site name="back" pos="-.05 0 .01"/><site name="tip" pos=".25 0 .03"/>
    </body>
  </worldbody>
  <tendon>
    <spatial name="back"><site site="blade"/>{pulley}<site site="tip"/></spatial>
    <spatial name="front"><site site="chest"/>{side}<site site="tip"/><pulley divisor="2"/>
      <site site="back"/>{knob}<site site="far"/></spatial>
    <spatial name="plain"><site site="chest"/><site site="tip"/></spatial>
  </tendon>
  <actuator>
    <muscle name="back" tendon="back" force="300" lengthrange="0.2 0.6"/>
    <motor name="front" tendon="front" gear="-9"/>
    <motor name="plain" tendon="plain" gear="-9"/>
  </actuator>
</mujoco>"""
WRAPS = {
    "pulley": '<geom geom="pulley" sidesite="blade"/>',
    "side": '<geom geom="pulley"/>',
    "knob": '<geom geom="knob" sidesite="far"/>',
}
WRAPPED = ARM.format(**WRAPS)
STRAIGHT = ARM.format(**dict.fromkeys(WRAPS, ""))


def test_paths_wrap_as_mujocos_do() -> None:
    m, r = mujoco.MjModel.from_xml_string(WRAPPED), load_model(WRAPPED)
    d = mujoco.MjData(m)
    assert r.notes == () and r.muscles.segment_wrap.tolist() == [0, 1, 2, -1]
    for q in np.linspace(0, 2.6, 53):
        d.qpos[0], d.qvel[0] = q, 1
        mujoco.mj_forward(m, d)
        lengths, levers = lengths_and_moments(r, *twin.kinematics(r, d.qpos))
        np.testing.assert_allclose(lengths, d.ten_length, rtol=1e-10)
        np.testing.assert_allclose(levers[:, 0], d.ten_velocity, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=r"wrapping is 'round': use 'simulate' or 'straight'"):
        load_model(WRAPPED, wrapping="round")


def test_the_same_model_as_with_the_shapes_taken_out_of_the_paths() -> None:
    found, expected = load_model(WRAPPED, wrapping="straight").muscles, load_model(STRAIGHT).muscles
    for field in fields(Muscles):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
    assert found.first.tolist() == [0, 1, 3, 4]


def test_other_problems_are_still_refused() -> None:
    heavy = WRAPPED.replace('<spatial name="plain">', '<spatial name="plain" armature="1">')
    with pytest.raises(ModelError) as caught:
        load_model(heavy, wrapping="straight")
    (problem,) = caught.value.problems
    assert problem.startswith('armature of tendon "plain"')


def test_mujocos_length_and_lever_where_nothing_is_in_the_way_and_shorter_elsewhere() -> None:
    m, r = mujoco.MjModel.from_xml_string(WRAPPED), load_model(WRAPPED, wrapping="straight")
    d = mujoco.MjData(m)
    free, bent = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
    for q in np.linspace(0, 2.6, 53):
        d.qpos[0] = q
        mujoco.mj_forward(m, d)
        lengths, levers = lengths_and_moments(r, *twin.kinematics(r, d.qpos))
        velocity = np.zeros(3)
        d.qvel[0] = 1
        mujoco.mj_forward(m, d)
        velocity[:] = d.ten_velocity
        for t in range(3):
            if lengths[t] > d.ten_length[t] - 1e-12:
                free[t] += 1
                np.testing.assert_allclose([lengths[t], levers[t, 0]], [d.ten_length[t], velocity[t]], rtol=1e-9)
            else:
                bent[t] += 1
    assert (free > 5).all()
    assert (bent[:2] > 3).all() and bent[2] == 0


def test_a_note_for_each_tendon_says_how_much_shorter_it_is() -> None:
    r = load_model(WRAPPED, wrapping="straight")
    m = mujoco.MjModel.from_xml_string(WRAPPED)
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    lengths, _ = lengths_and_moments(r, *twin.kinematics(r, r.q_ref))
    less = 100 * (1 - lengths / d.ten_length)
    assert less[0] > 0.1
    assert r.notes == (
        f'tendon "back" is straight instead of wrapped around "pulley": {less[0]:.1f} % shorter in the initial pose',
        f'tendon "front" is straight instead of wrapped around "pulley", "knob": {less[1]:.1f} % shorter in the initial'
        " pose",
    )
    assert load_model(STRAIGHT, wrapping="straight").notes == ()
    assert replace(r, notes=()).muscles.n == 3
