"""Floating roots start on the ground, not in it."""

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin

URDF = """
<robot name="walker">
  <link name="base"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><sphere radius="0.1"/></geometry></collision></link>
  <link name="leg"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><origin xyz="0 0 -0.4"/>{foot}</collision></link>
  <joint name="hip" type="revolute"><parent link="base"/><child link="leg"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="10" velocity="1"/></joint>
</robot>"""
FEET = {
    "sphere": ('<geometry><sphere radius="0.05"/></geometry>', 0.45),
    "box": ('<geometry><box size="0.2 0.2 0.1"/></geometry>', 0.45),
    "cylinder": ('<geometry><cylinder radius="0.03" length="0.2"/></geometry>', 0.5),
}


@pytest.mark.parametrize("foot", FEET)
@pytest.mark.parametrize("ground", [0.0, -0.2, 3.0])
def test_the_lowest_shape_of_a_floating_urdf_touches_the_ground(foot: str, ground: float) -> None:
    shape, reach = FEET[foot]
    model = load_model(URDF.format(foot=shape), floating=True, ground=ground)
    np.testing.assert_allclose(model.q_ref[:3], [0, 0, ground + reach], atol=1e-12)
    still = twin.forward_dynamics(model, model.q_ref, np.zeros(model.nv), np.zeros(model.nu))
    np.testing.assert_allclose(still[:6], [0, 0, model.gravity[2], 0, 0, 0], atol=1e-9)  # it falls, nothing pushes it


def test_a_robot_above_the_ground_stays_there() -> None:
    model = load_model(URDF.format(foot=FEET["sphere"][0]), floating=True, ground=-0.5)
    assert model.q_ref[2] == 0


MJCF = """
<mujoco><worldbody>
  <geom type="plane" size="1 1 1" {plane}/>
  <body name="own" pos="3 0 -0.1"><freejoint/><geom size="0.2"/></body>
  <body name="ours" pos="0 0 0.05"><geom size="0.2"/><body><joint name="j"/><geom size="0.1"/></body></body>
</worldbody></mujoco>"""


def test_a_free_joint_of_the_file_stays_where_the_file_has_it() -> None:
    model = load_model(MJCF.format(plane=""), floating=True)
    np.testing.assert_allclose(model.q_ref[[2, 9]], [-0.1, 0.2])
    np.testing.assert_allclose(load_model(MJCF.format(plane="")).q_ref, [3, 0, -0.1, 1, 0, 0, 0, 0])


def test_a_slope_lifts_straight_up_and_a_wall_does_not() -> None:
    slope = load_model(MJCF.format(plane='euler="0 30 0"'), floating=True)
    np.testing.assert_allclose(slope.q_ref[7:10], [0, 0, 0.2 / np.cos(np.pi / 6)], atol=1e-12)
    wall = load_model(MJCF.format(plane='euler="0 89 0"'), floating=True)
    assert wall.q_ref[9] == 0.05
