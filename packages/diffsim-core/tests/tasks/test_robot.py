"""``robot_task``: a file of one's own walks; keyframes, servos in place of motors, and errors that say what to do."""

import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core.check import check_gradients
from diffsim_core.io import ModelError, load_model, load_poses
from diffsim_core.rigid import RigidDynamics, twin
from diffsim_core.tasks import robot_task, with_servos

LEG = """
<body name="{0}" pos="{1} 0 0"><joint name="{0}" axis="0 1 0" range="-60 60" damping="0.2"/>
  <geom type="capsule" size="0.03" fromto="0 0 0 0 0 -0.25" mass="0.5"/></body>"""
XML = f"""
<mujoco>
  <worldbody>
    <body name="torso" pos="0 0 0.3">
      <freejoint/>
      <geom type="box" size="0.3 0.15 0.05" mass="8"/>
      {LEG.format("front", 0.2)}{LEG.format("back", -0.2)}
    </body>
  </worldbody>
  <actuator>
    <motor joint="front" gear="2" ctrlrange="-10 10"/>
    <position joint="back" kp="40" kv="2" ctrlrange="-1 1"/>
  </actuator>
  <keyframe><key name="home" qpos="0 0 0.29 1 0 0 0 0.2 -0.1"/><key qpos="0 0 0.5 1 0 0 0 0 0"/></keyframe>
</mujoco>
"""


@pytest.fixture
def robot(tmp_path):
    path = tmp_path / "robot.xml"
    path.write_text(XML)
    return path


def make(path, **options):
    name = f"robot {path.parent.name}"
    diffsim_core.register_task(name, robot_task(path, **options))
    return name


def test_keyframes_are_poses(robot):
    poses = load_poses(robot)
    assert list(poses) == ["home", "key1"]
    np.testing.assert_allclose(poses["home"], [0, 0, 0.29, 1, 0, 0, 0, 0.2, -0.1])
    np.testing.assert_allclose(poses["key1"][2], 0.5)


def test_a_motor_becomes_a_drive_with_the_motors_bounds(robot):
    model = with_servos(load_model(robot), 30.0, 1.5)
    assert not model.actuator_gear.any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        q, qd = model.q_ref + 0.5 * rng.normal(size=model.nq), 2 * rng.normal(size=model.nv)
        u = rng.normal(size=2)
        tau = twin.actuator_forces(model, q, qd, u)
        np.testing.assert_allclose(tau[6], np.clip(30 * (u[0] - q[7]) - 1.5 * qd[6], -20, 20), atol=1e-12)
        np.testing.assert_allclose(tau[7], 40 * (u[1] - q[8]) - 2 * qd[7], atol=1e-12)


def test_the_task_stands_on_ground_that_the_file_lacks_and_has_right_gradients(robot):
    name = make(robot, pose="home", servos=(30.0, 1.5))
    env = diffsim_core.make(name, num_envs=4, random_start=False)
    assert env.task.dynamics.model.nc and env.task.dynamics.substeps == 16
    state, _ = env.reset(seed=0)
    for _ in range(30):
        state, step = env.step(state, torch.zeros(4, 2))
    assert not step.terminated.any() and step.reward.min() > 2.5
    np.testing.assert_allclose(state.physics.q[:, 7:], torch.tensor([[0.2, -0.1]] * 4), atol=0.15)
    report = check_gradients(diffsim_core.make(name, num_envs=4, dtype="float64"), warmup=3)
    assert report.max_rel_error < 1e-6


def test_wrong_poses_are_named(robot):
    with pytest.raises(ModelError, match='has no keyframe "sit": it has home, key1'):
        robot_task(robot, pose="sit")
    with pytest.raises(ValueError, match="pose has 2 coordinates, and 'MuJoCo Model' has 9"):
        robot_task(robot, pose=[0.0, 1.0])


def test_a_bolted_robot_cannot_run(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(XML.replace("<freejoint/>", "").replace(XML[XML.index("<keyframe>") : XML.index("</mujoco>")], ""))
    with pytest.raises(ValueError, match="needs a free root in front of slides and hinges"):
        robot_task(path)(num_envs=1, device="cpu", dtype="float32")
    assert isinstance(RigidDynamics(load_model(path), dt=1 / 60).substeps, int)
