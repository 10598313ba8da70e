"""Forces of loaded actuators are MuJoCo's, and what an action spans follows from what the file bounds."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid import RigidDynamics, twin
from diffsim_core.rigid.model import UNBOUNDED
from diffsim_core.tasks._rigid import RigidTask
from diffsim_core.tasks.robot import Robot

NOTHING = (-UNBOUNDED, UNBOUNDED)
CLAMP = '<flag clampctrl="disable"/>'
ARM = """<mujoco><compiler angle="radian"/><option gravity="0 0 0">{flag}</option><worldbody>
  <body><joint name="j" axis="0 1 0" {joint}/><geom type="capsule" size=".05" fromto="0 0 0 .4 0 0"/>
  <body pos="0.4 0 0"><joint name="k" axis="0 1 0"/><geom size=".05"/></body></body>
  </worldbody><actuator>{actuators}</actuator></mujoco>"""

CASES = {
    "motor": ('<motor joint="j" gear="7"/>', "", NOTHING),
    "motor with bounds": ('<motor joint="j" gear="-10" forcerange="-2 3"/>', "", (-2, 3)),
    "negative gain": ('<general joint="j" gainprm="-4" forcerange="-2 3"/>', "", (-0.75, 0.5)),
    "joint with bounds": ('<motor joint="j" gear="-2"/>', 'actuatorfrcrange="-2 3"', (-1.5, 1)),
    "both with bounds": ('<motor joint="j" gear="2" forcerange="-4 1"/>', 'actuatorfrcrange="-3 9"', (-1.5, 1)),
    "bounds that do not meet": ('<motor joint="j" forcerange="2 4"/>', 'actuatorfrcrange="-1 1"', NOTHING),
    "position": ('<position joint="j" kp="50" gear="2"/>', 'range="-1 2" actuatorfrcrange="-30 20"', (-2, 4)),
    "position without range": ('<position joint="j" kp="50"/>', 'actuatorfrcrange="-30 20"', NOTHING),
    "velocity": ('<velocity joint="j" kv="3" forcerange="-2 2"/>', "", NOTHING),
    "biasprm that is not read": ('<general joint="j" gainprm="100" biasprm="3 -100 -10"/>', "", NOTHING),
    "biasprm that is not read, bounds": ('<general joint="j" biasprm="3 -9 -1" forcerange="-1 1"/>', "", (-1, 1)),
    "the file's range": ('<motor joint="j" gear="3" ctrlrange="-5 5"/>', 'actuatorfrcrange="-9 9"', (-5, 5)),
    "two on a joint, within": (
        '<motor joint="j" gear="3" ctrlrange="-1 2"/><position joint="j" kp="5" forcerange="-1 3"/>',
        'actuatorfrcrange="-4 9"',
        (-1, 2),
    ),
    "two on a joint": (
        '<motor joint="j" gear="3"/><position joint="j" kp="5" kv="0.5" forcerange="-1 3"/>',
        'actuatorfrcrange="-2 4"',
        (-2 / 3, 4 / 3),
    ),
    "two motors on a joint": ('<motor joint="j"/><motor joint="j" gear="2"/>', 'actuatorfrcrange="-2 2"', (-2, 2)),
    "one of two switched off": ('<motor joint="j" group="3"/><motor joint="j"/>', 'actuatorfrcrange="-1 1"', (-1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_forces_are_mujocos_and_ranges_follow(case: str) -> None:
    actuators, joint, expected = CASES[case]
    xml = ARM.format(actuators=actuators, joint=joint, flag="" if "ctrlrange" in actuators else CLAMP)
    xml = xml.replace("<option", '<option actuatorgroupdisable="3"') if "group" in actuators else xml
    model, m = load_model(xml), mujoco.MjModel.from_xml_string(xml)
    np.testing.assert_allclose(model.actuator_range[0], expected)
    d, rng = mujoco.MjData(m), np.random.default_rng(0)
    for _ in range(50):
        d.qpos[:], d.qvel[:] = rng.uniform(-2, 2, m.nv), rng.uniform(-5, 5, m.nv)
        d.ctrl[:] = rng.uniform(-5, 5, m.nu)
        if "ctrlrange" in actuators:  # the engine does not clip controls
            d.ctrl[:] = np.where(m.actuator_ctrllimited, np.clip(d.ctrl, *m.actuator_ctrlrange.T), d.ctrl)
        mujoco.mj_forward(m, d)
        found = twin.actuator_forces(model, d.qpos, d.qvel, d.ctrl)
        np.testing.assert_allclose(found, d.qfrc_actuator, atol=1e-12)


def test_a_range_that_mujoco_would_not_clip_to_bounds_no_force() -> None:
    limits = '<motor joint="j" gear="3" ctrlrange="-1 1" forcerange="-2 2"/>'
    clipped, free = (load_model(ARM.format(actuators=limits, joint="", flag=flag)) for flag in ("", CLAMP))
    assert (clipped.ns, free.ns) == (0, 1)
    np.testing.assert_array_equal(free.servo_range, [[-6, 6]])


def test_a_urdf_motor_has_the_joints_effort_at_one() -> None:
    inertia = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    model = load_model(
        f'<robot name="r"><link name="a"/><link name="b">{inertia}</link><joint name="j" type="revolute">'
        '<parent link="a"/><child link="b"/><limit effort="30" velocity="1" lower="-1" upper="1"/></joint></robot>'
    )
    assert (model.ns, model.actuator_gear.tolist(), model.actuator_range.tolist()) == (0, [30], [[-1, 1]])


def test_a_task_names_the_actuators_whose_range_it_needs() -> None:
    xml = ARM.format(actuators='<motor name="free" joint="j"/><motor joint="k" ctrlrange="-1 1"/>', joint="", flag="")
    dynamics = RigidDynamics(load_model(xml), dt=0.01, substeps=1)
    with pytest.raises(ValueError, match=r'actuators "free" of .* have none: give each a ctrlrange'):
        RigidTask(dynamics, episode_length=5, obs_names=())

    class OwnControl(RigidTask):
        def control(self, xp: object, action: object) -> tuple[object, ...]:  # pyright: ignore
            return (action,)

    assert OwnControl(dynamics, episode_length=5, obs_names=()).num_actions == 2


def test_actuators_from_afar_and_with_a_state_on_a_bounded_joint_are_refused() -> None:
    lagged = '<general joint="j" dyntype="filter" dynprm="0.1" {}/>'
    joint = 'actuatorfrcrange="-1 1"'
    with pytest.raises(ModelError, match='actuatorfrcrange of joint "j" cuts an actuator with a state'):
        load_model(ARM.format(actuators=lagged.format(""), joint=joint, flag=""))
    load_model(ARM.format(actuators=lagged.format('forcerange="-1 1"'), joint=joint, flag=""))
    jet = ARM.format(actuators='<motor site="s"/>', joint=joint, flag="").replace(
        "</body></body>", '<site name="s"/></body></body>'
    )
    with pytest.raises(ModelError, match='joint "j", on which an actuator pulls by a tendon or site'):
        load_model(jet)


def test_a_tendon_that_pulls_on_a_bounded_joint_is_refused() -> None:
    tendon = '<tendon><spatial name="t"><site site="a"/><site site="b"/></spatial></tendon>'
    xml = ARM.format(actuators='<motor tendon="t"/>', joint="{}", flag="").replace("<actuator>", tendon + "<actuator>")
    xml = xml.replace("<worldbody>", '<worldbody><site name="a"/>').replace(
        "</body></body>", '</body><site name="b" pos=".2 0 0"/></body>'
    )
    with pytest.raises(
        ModelError, match='actuatorfrcrange of joint "j", on which an actuator pulls by a tendon or site'
    ):
        load_model(xml.format('actuatorfrcrange="-1 1"'))
    other = xml.format("").replace('name="k"', 'name="k" actuatorfrcrange="-1 1"')
    assert load_model(other).notes == ()  # the path ends before that joint


def test_a_robot_of_the_task_needs_ranges_but_of_position_servos() -> None:
    legs = ARM.format(actuators="{}", joint="", flag="").replace("<body>", '<body pos="0 0 1"><freejoint/>', 1)
    legs = legs.replace('<joint name="j"', '<geom size=".1"/><body><joint name="j"').replace(
        "</worldbody>", "</body></worldbody>"
    )
    position = load_model(legs.format('<position joint="j" kp="5"/>'))
    assert Robot(RigidDynamics(position, dt=0.01, substeps=1), rest=position.q_ref).span.tolist() == [0.5]
    motor = load_model(legs.format('<motor name="free" joint="j"/>'))
    with pytest.raises(ValueError, match=r'actuators "free" of .* have none: give each a ctrlrange'):
        Robot(RigidDynamics(motor, dt=0.01, substeps=1), rest=motor.q_ref)
