"""Muscles and motors on spatial tendons against MuJoCo, and what is refused."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_muscles import advance_activations, lengths_and_moments, muscle_forces

ARM = """<mujoco model="arm">
  <worldbody>
    <site name="chest" pos="-.1 .05 .1"/><site name="back" pos="-.05 -.05 -.05"/>
    <body name="upper"><joint name="shoulder" type="ball" armature=".02" damping=".1"/>
      <geom type="capsule" fromto="0 0 0 .3 0 0" size=".03"/>
      <site name="u1" pos=".1 0 .04"/><site name="u2" pos=".2 .03 .03"/><site name="u3" pos=".15 0 -.05"/>
      <body name="fore" pos=".3 0 0" euler="0 0 20"><joint name="elbow" axis="0 1 0" armature=".02" damping=".1"/>
        <geom type="capsule" fromto="0 0 0 .3 0 0" size=".02"/>
        <site name="f1" pos=".05 0 .03"/>
        <body name="plate" pos="0.02 0 0"><geom size=".01"/><site name="f2" pos=".08 .01 -.03"/></body>
      </body></body>
    {bodies}
  </worldbody>
  <tendon>
    <spatial name="a"><site site="chest"/><site site="u1"/></spatial>
    <spatial name="b"><site site="back"/><site site="u3"/><site site="f2"/></spatial>
    <spatial name="c"><site site="u2"/><site site="f1"/><pulley divisor="2"/>
      <site site="chest"/><site site="u2"/><pulley divisor="3"/><site site="u1"/><site site="u3"/></spatial>
    {tendons}
  </tendon>
  <actuator>{actuators}</actuator>
</mujoco>"""
ACTUATORS = """
    <muscle name="quick" tendon="a" force="300" lengthrange=".05 .35" timeconst=".01 .04" tausmooth=".2"/>
    <muscle name="scaled" tendon="b" scale="200" lengthrange=".3 .8" range=".7 1.2" fpmax="1.1" fvmax="1.4" vmax="1.2"
      gear="1.3"/>
    <motor name="cord" tendon="c" gear="-50" ctrlrange="0 1"/>
    <motor tendon="a" gear="-5" ctrlrange="0 2"/>
    <motor name="elbow" joint="elbow" gear="3" ctrlrange="-1 1"/>
    <muscle name="wide" tendon="a" lengthrange=".1 .2" range=".5 1.6" lmin=".4" lmax="1.8" ctrllimited="true"
      ctrlrange="0 1"/>"""


def arm(actuators: str = ACTUATORS, tendons: str = "", bodies: str = "") -> str:
    return ARM.format(actuators=actuators, tendons=tendons, bodies=bodies)


def test_lengths_forces_and_activations_are_mujocos() -> None:
    m = mujoco.MjModel.from_xml_string(arm())
    d, r = mujoco.MjData(m), load_model(arm())
    assert r.muscles.name == ("quick", "scaled", "cord", "a", "wide")
    assert r.muscles.activation.tolist() == [0, 1, -1, -1, 2]
    assert r.muscles.control.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(r.actuator_range, [[0, 1], [0, 1], [0, 1], [0, 2], [-1, 1], [0, 1]])
    rng = np.random.default_rng(0)
    used = np.zeros(3, dtype=bool)
    for _ in range(300):
        d.qpos[:] = rng.normal(size=m.nq)
        d.qpos[:4] /= np.linalg.norm(d.qpos[:4])
        d.qvel[:] = 3 * rng.normal(size=m.nv)
        d.act[:], d.ctrl[:] = rng.uniform(-0.1, 1.1, m.na), rng.uniform(0, 1, m.nu)
        mujoco.mj_forward(m, d)
        kin = twin.kinematics(r, d.qpos)
        lengths, moments = lengths_and_moments(r, *kin)
        np.testing.assert_allclose(lengths, d.ten_length[[0, 1, 2, 0, 0]], rtol=1e-12)
        np.testing.assert_allclose(moments[1] @ d.qvel, d.ten_velocity[1], atol=1e-12)
        force = twin.actuator_forces(r, d.qpos, d.qvel, d.ctrl) + muscle_forces(r, *kin, d.qvel, d.ctrl, d.act)
        np.testing.assert_allclose(force, d.qfrc_actuator, rtol=1e-10, atol=1e-10 * (1 + np.abs(force).max()))
        rate = (advance_activations(r, d.ctrl, d.act, 1e-3) - d.act) / 1e-3
        np.testing.assert_allclose(rate, d.act_dot, rtol=1e-9, atol=1e-9)
        used |= d.actuator_force[[0, 1, 5]] != 0
    assert used.all()


def test_points_on_two_trees_and_on_the_world_are_mujocos() -> None:
    ball = '<body name="ball" pos="1 0 0"><freejoint/><geom size=".1"/><site name="hook" pos=".1 0 0"/></body>'
    slider = (
        '<body name="cart"><joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 1 0"/><geom size=".1"/>'
        '<site name="ring" pos="0 0 .2"/></body>'
    )
    line = '<spatial name="line"><site site="hook"/><site site="ring"/><site site="chest"/><site site="f1"/></spatial>'
    xml = arm('<motor tendon="line" gear="-7"/>', line, ball + slider)
    m = mujoco.MjModel.from_xml_string(xml)
    d, r = mujoco.MjData(m), load_model(xml)
    rng = np.random.default_rng(1)
    for _ in range(20):
        d.qpos[:] = rng.normal(size=m.nq)
        mujoco.mj_normalizeQuat(m, d.qpos)
        d.ctrl[:] = rng.uniform(-1, 1)
        mujoco.mj_forward(m, d)
        kin = twin.kinematics(r, d.qpos)
        force = muscle_forces(r, *kin, np.zeros(m.nv), d.ctrl, np.zeros(0))
        np.testing.assert_allclose(force, d.qfrc_actuator, atol=1e-12)


def muscle(more: str) -> str:
    return arm(f'<muscle name="biceps" tendon="a" lengthrange="0.1 0.3" {more}/>')


def general(more: str) -> str:
    types = 'dyntype="muscle" gaintype="muscle" biastype="muscle" dynprm="0.01 0.04" lengthrange="0.1 0.3"'
    curves = "0.75 1.05 -1 200 0.5 1.6 1.5 1.3 1.2"
    return arm(f'<general name="biceps" tendon="a" {types} gainprm="{curves}" biasprm="{curves}" {more}/>')


def spatial(inner: str, attributes: str = "") -> str:
    return arm("", f'<spatial name="line" {attributes}>{inner}</spatial>')


TWO = '<site site="u1"/><site site="f1"/>'
CASES = {
    "armature of a tendon": (spatial(TWO, 'armature="3"'), 'armature of tendon "line": a tendon has no inertia'),
    "negative spring": (spatial(TWO, 'stiffness="-1"'), 'tendon "line" has a negative stiffness'),
    "gain": (
        arm('<general name="winch" tendon="a" gaintype="affine"/>'),
        'actuator "winch" has a gain that depends on the',
    ),
    "muscle's force range": (
        arm('<muscle name="winch" tendon="a" lengthrange="0.1 1" forcelimited="true" forcerange="0 1"/>'),
        'actuator "winch" is a muscle with a forcerange; give',
    ),
    "early": (general('actearly="true"'), '"biceps" has actearly'),
    "activation range": (general('actlimited="true" actrange="0 0.5"'), "actrange 0 0.5, which cuts"),
    "no length range": (arm('<muscle name="biceps" tendon="a"/>'), '"biceps" has no lengthrange; give it one'),
    "curves": (muscle('fvmax="0.5"'), '"biceps" needs range increasing, lmin < 1 < lmax'),
    "time constants": (muscle('timeconst="0 0.1"'), '"biceps" needs positive time constants'),
    "on a ball joint": (arm('<muscle name="biceps" joint="shoulder" lengthrange="0.1 1"/>'), "a free or ball joint"),
    "armature": (arm('<motor name="winch" tendon="a" armature="1"/>'), '"winch" has armature'),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_by_name(name: str) -> None:
    xml, words = CASES[name]
    with pytest.raises(ModelError) as caught:
        load_model(xml)
    assert words in str(caught.value)


def test_the_mujoco_compiler_names_missing_sites() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        load_model(spatial('<site site="u1"/><site site="nowhere"/>'))
    with pytest.raises(ModelError, match="two"):
        load_model(spatial('<site site="u1"/>'))


def test_a_tendon_that_nothing_pulls_is_harmless() -> None:
    around = '<site site="u1"/><geom geom="bone"/><site site="f1"/>'
    fixed = arm("", '<fixed name="line"><joint joint="elbow" coef="1"/></fixed>')
    for xml in (spatial(TWO), spatial(around).replace('<geom size=".01"/>', '<geom name="bone" size=".01"/>'), fixed):
        for wrapping in ("simulate", "straight"):
            model = load_model(xml, wrapping=wrapping)
            assert model.muscles.n == 0
            assert not any("tendon" in note for note in model.notes)


def test_joint_force_limits_cannot_bound_muscles() -> None:
    xml = muscle("").replace('name="elbow" axis', 'name="elbow" actuatorfrcrange="-1 1" axis')
    assert load_model(xml).muscles.n == 1  # that muscle ends before the elbow
    with pytest.raises(
        ModelError, match='actuatorfrcrange of joint "elbow", on which an actuator pulls by a tendon or site'
    ):
        load_model(xml.replace('name="biceps" tendon="a"', 'name="biceps" tendon="b"'))
