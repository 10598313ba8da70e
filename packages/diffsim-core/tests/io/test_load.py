"""From files to plain arrays: links, contact points, friction, actuators, parameters, URDF."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from diffsim_core.io import ContactParams, LimitParams, ModelError, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import JointType, RigidModel

PLANE = '<geom name="ground" type="plane" size="1 1 1" {}/>'


def load(bodies: str = "", *, plane: str | None = "", more: str = "", **options) -> RigidModel:
    ground = "" if plane is None else PLANE.format(plane)
    return load_model(
        f'<mujoco><compiler angle="radian"/>{more}<worldbody>{ground}{bodies}</worldbody></mujoco>', **options
    )


def falling(geom: str) -> str:
    return f'<body name="b" pos="0 0 1"><freejoint/>{geom}</body>'


# links


def test_one_link_per_joint_and_inner_links_have_no_mass() -> None:
    joints = '<joint name="x" type="slide" axis="2 0 0"/><joint name="y" pos="0 1 0"/>'
    joints += '<joint name="z" type="ball" armature="1"/>'
    model = load(f'<body pos="0 0 3">{joints}<geom size="0.1" density="1000"/></body>')
    assert list(model.link_parent) == [-1, 0, 1]
    assert list(model.joint_type) == [JointType.SLIDE, JointType.HINGE, JointType.BALL]
    assert list(model.joint_q) == [0, 1, 2]
    assert list(model.joint_dof) == [0, 1, 2]
    assert (model.nq, model.nv) == (6, 5)
    np.testing.assert_allclose(model.link_pos, [[0, 0, 3], [0, 1, 0], [0, -1, 0]])
    np.testing.assert_allclose(model.joint_axis[:2], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(model.link_mass, [0, 0, 4 / 3 * np.pi], rtol=1e-12)
    np.testing.assert_array_equal(model.link_inertia[:2], 0)


def test_welded_bodies_are_merged_into_their_link() -> None:
    """A dumbbell of two welded spheres: mass, centre and inertia by the parallel-axis theorem."""
    end = '<body name="end" pos="1 0 0" quat="0.6 0 0.8 0"><geom name="e" size="0.2" pos="0 0.5 0" mass="3"/></body>'
    model = load(f'<body name="start"><freejoint/><geom size="0.1" mass="1"/>{end}</body>')
    assert model.nl == 1
    assert [(b.name, b.link, b.mass) for b in model.bodies] == [("start", 0, 1.0), ("end", 0, 3.0)]
    p = np.array([1, 0.5, 0])  # the turn is about y and leaves the sphere's centre where it was
    np.testing.assert_allclose(model.link_com[0], 0.75 * p, atol=1e-12)
    spheres = 0.4 * (1 * 0.01 + 3 * 0.04) * np.eye(3)
    reduced = 1 * 3 / 4 * (p @ p * np.eye(3) - np.outer(p, p))
    np.testing.assert_allclose(model.link_inertia[0], spheres + reduced, atol=1e-12)
    np.testing.assert_allclose(model.geoms[2].pos, p, atol=1e-12)


def test_bodies_welded_to_the_world_are_no_links() -> None:
    arm = '<body name="arm" pos="0 0 1"><joint name="j"/><geom size="0.1" pos="0.3 0 0"/></body>'
    model = load(f'<body name="base" pos="0 0 2"><geom size="0.1" mass="7" contype="0" conaffinity="0"/>{arm}</body>')
    assert model.nl == 1
    assert model.link_mass[0] < 7
    np.testing.assert_allclose(model.link_pos[0], [0, 0, 3])
    assert {b.name: b.link for b in model.bodies} == {"base": -1, "arm": 0}


def test_reference_and_spring_coordinates() -> None:
    model = load('<body><joint type="slide" ref="0.3" springref="-0.1" stiffness="5"/><geom size="0.1"/></body>')
    np.testing.assert_array_equal(model.q_ref, [0.3])
    np.testing.assert_array_equal(model.q_spring, [-0.1])
    np.testing.assert_array_equal(model.joint_stiffness, [5])


def test_arrays_are_the_models_own() -> None:
    model = load(falling('<geom size="0.1"/>'))
    for f in fields(model):
        value = getattr(model, f.name)
        if isinstance(value, np.ndarray):
            assert value.dtype in (np.float64, np.int64), f.name


# contact points


def test_contact_points_of_the_three_shapes() -> None:
    capsule = '<geom type="capsule" size="0.1" fromto="0 0 0 1 0 0"/>'
    model = load(falling(capsule))
    np.testing.assert_allclose(sorted(model.contact_pos.tolist()), [[0, 0, 0], [1, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(model.contact_radius, 0.1)
    model = load(falling('<geom size="0.2" pos="0 1 0"/>'))
    np.testing.assert_allclose(model.contact_pos, [[0, 1, 0]])
    model = load(falling('<geom type="box" size="1 2 3" pos="0 0 1" quat="0 1 0 0"/>'))
    assert model.nc == 8
    assert {tuple(p) for p in np.round(model.contact_pos, 9)} == {
        (x, y, z) for x in (-1, 1) for y in (-2, 2) for z in (-2, 4)
    }
    np.testing.assert_array_equal(model.contact_radius, 0)


@pytest.mark.parametrize(
    ("plane", "geom", "touches"),
    [
        ("", "", True),
        ('contype="0" conaffinity="1"', 'contype="1" conaffinity="0"', True),
        ('contype="1" conaffinity="0"', 'contype="1" conaffinity="0"', False),
        ('contype="2" conaffinity="4"', 'contype="4" conaffinity="0"', True),
        ("", 'contype="0" conaffinity="0"', False),
    ],
)
def test_collision_masks_decide_who_touches_the_ground(plane: str, geom: str, touches: bool) -> None:
    assert load(falling(f'<geom size="0.1" {geom}/>'), plane=plane).nc == touches


def test_no_plane_no_contact_points() -> None:
    assert load(falling('<geom size="0.1"/>'), plane=None).nc == 0


def test_excluded_pairs_and_explicit_pairs() -> None:
    ball = falling('<geom name="ball" size="0.1"/>')
    assert load(ball, more='<contact><exclude body1="world" body2="b"/></contact>').nc == 0
    pair = '<contact><pair geom1="ball" geom2="ground" friction="0.3 0.3 0 0 0"/></contact>'
    model = load(ball, plane='contype="0" conaffinity="0"', more=pair)
    np.testing.assert_allclose(model.contact_mu, [0.3])


@pytest.mark.parametrize(
    ("plane", "geom", "mu"),
    [
        ('friction="0.4"', 'friction="0.9"', 0.9),
        ('friction="0.4" priority="1"', 'friction="0.9"', 0.4),
        ('friction="0.4"', 'friction="0.2" priority="3"', 0.2),
        ('friction="0.4" condim="1"', 'friction="0.9" condim="1"', 0.0),
        ('friction="0.4" condim="1"', 'friction="0.9" condim="3"', 0.9),
        ('friction="0.4" condim="1" priority="1"', 'friction="0.9"', 0.0),
    ],
)
def test_friction_is_mujocos(plane: str, geom: str, mu: float) -> None:
    np.testing.assert_allclose(load(falling(f'<geom size="0.1" {geom}/>'), plane=plane).contact_mu, [mu])


def test_ground_height_from_plane_and_keyword() -> None:
    ball = falling('<geom size="0.1" friction="0.3"/>')
    assert load(ball, plane='pos="1 2 -0.5"').ground_height == -0.5
    model = load(ball, plane='pos="0 0 -0.5" quat="0.9 0.1 0 0"', ground=0.25)  # the tilted plane is replaced
    assert model.ground_height == 0.25
    np.testing.assert_allclose(model.contact_mu, [0.3])
    with pytest.raises(ValueError, match="ground is nan"):
        load(ball, ground=float("nan"))


def test_body_contact_is_noted() -> None:
    two = falling('<geom size="0.1"/>') + falling('<geom size="0.1"/>').replace('name="b"', 'name="c"')
    assert load(two).notes == ("contact between moving bodies is not simulated",)
    assert load(falling('<geom size="0.1"/>')).notes == ()


def test_default_gains_scale_with_the_tree() -> None:
    model = load(falling('<geom size="0.1" mass="2"/>'))
    weight, depth = 2 * 9.81, 0.1 / 80  # of a ball of 20 cm; 5 mm for what is large
    expected = [weight / (4 * depth), weight / (4 * depth) / 4 * 2, weight / (4 * 0.005) / 5]
    np.testing.assert_allclose([model.contact_kn[0], model.contact_kd[0], model.contact_kt[0]], expected)
    large = load(falling('<geom size="1" mass="2"/>'))
    kn = weight / (4 * 0.005)
    np.testing.assert_allclose([large.contact_kn[0], large.contact_kd[0], large.contact_kt[0]], [kn, kn / 4, kn / 5])


# actuators, flags, parameters

HINGE = '<body><joint name="j" axis="0 1 0" {}/><geom size="0.1" pos="0.3 0 0"/></body>'


@pytest.mark.parametrize(
    ("motor", "gear", "bounds"),
    [
        ('<motor name="m" joint="j" gear="7" ctrlrange="-2 3"/>', 7, (-2, 3)),
        ('<general name="m" joint="j" gear="7" gainprm="2" ctrlrange="0 1"/>', 14, (0, 1)),
        ('<motor name="m" jointinparent="j" gear="-7" ctrlrange="-1 1"/>', -7, (-1, 1)),
        ('<motor name="m" joint="j" gear="7" forcerange="-1 1" ctrlrange="-1 0.5"/>', 7, (-1, 0.5)),
    ],
)
def test_motors(motor: str, gear: float, bounds: tuple[float, float]) -> None:
    model = load(HINGE.format('actuatorfrcrange="-21 21"'), more=f"<actuator>{motor}</actuator>")
    np.testing.assert_allclose(model.actuator_gear, [gear])
    np.testing.assert_allclose(model.actuator_range, [bounds])
    assert model.actuator_name == ("m",)
    assert list(model.actuator_dof) == [0]


def test_flags_switch_things_off() -> None:
    hinge = HINGE.format('range="-1 1" limited="true" stiffness="3" damping="2"')
    off = {
        name: load(hinge, more=f'<option><flag {name}="disable"/></option>') for name in ("spring", "damper", "limit")
    }
    on = load(hinge)
    assert (on.joint_stiffness[0], on.dof_damping[0], on.joint_limited[0]) == (3, 2, 1)
    assert off["spring"].joint_stiffness[0] == off["damper"].dof_damping[0] == off["limit"].joint_limited[0] == 0
    assert not load(hinge, more='<option><flag gravity="disable"/></option>').gravity.any()
    model = load(falling('<geom size="0.1"/>'), more='<option><flag contact="disable"/></option>')
    assert model.nc == 0
    assert "disabled" in model.notes[0]


def test_parameters_from_keyword_file_and_default() -> None:
    custom = (
        '<custom><numeric name="diffsim_contact" data="10 20 30"/><numeric name="diffsim_limit" data="5"/></custom>'
    )
    ball = falling('<geom size="0.1" friction="0.8"/>')
    model = load(ball, more=custom, contact=ContactParams(kd=7), limits=LimitParams(damping=1))
    gains = [model.contact_kn[0], model.contact_kd[0], model.contact_kt[0], model.contact_mu[0]]
    np.testing.assert_allclose(gains, [10, 7, 30, 1.0])  # MuJoCo's plane has friction 1
    assert (model.limit_stiffness[0], model.limit_damping[0]) == (5, 1)
    assert (model.contact_law, model.limit_law) == ("paper", "paper")
    default = load(ball)
    assert default.limit_law == "damped"


def test_inertia_numbers_replace_those_of_the_shapes_under_the_released_law() -> None:
    custom = '<custom><numeric name="diffsim_inertia:b" data="1 2 5 0.1 0 0"/>{}</custom>'
    ball = falling('<geom size="0.1" pos="1 0 0"/>')
    law = '<text name="diffsim_inertia_law" data="released"/>'
    model = load(ball, more=custom.format(law))
    np.testing.assert_allclose(model.link_inertia[0], [[1, 0.1, 0], [0.1, 2, 0], [0, 0, 5]])
    assert "rotational inertia of b" in model.notes[0]
    assert load(ball, more=custom.format("")).link_inertia[0, 2, 2] < 1
    np.testing.assert_allclose(load(ball, more=custom.format(""), inertia_law="released").link_inertia[0, 2, 2], 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contact": {"kn": -1.0}}, "ContactParams.kn is -1.0"),
        ({"contact": {"mu": float("nan")}}, "ContactParams.mu is nan"),
        ({"limits": {"damping": float("inf")}}, "LimitParams.damping is inf"),
    ],
)
def test_parameters_are_checked(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        (ContactParams if "contact" in options else LimitParams)(**next(iter(options.values())))


@pytest.mark.parametrize("law", ["contact_law", "limit_law", "inertia_law"])
def test_unknown_law(law: str) -> None:
    with pytest.raises(ModelError, match=f'{law} "coulomb" is unknown: use paper or released'):
        load(falling('<geom size="0.1"/>'), **{law: "coulomb"})


# URDF

URDF = """<?xml version="1.0"?>
<robot name="arm">
  <link name="base">
    <inertial><mass value="5"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><box size="0.4 0.4 0.2"/></geometry></collision>
  </link>
  <link name="forearm">
    <inertial><origin xyz="0 0 0.3"/><mass value="2"/>
      <inertia ixx="0.1" iyy="0.1" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><geometry><mesh filename="package://arm/shell.stl"/></geometry></visual>
    <collision><origin xyz="0 0 0.6"/><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="elbow" type="revolute">
    <parent link="base"/><child link="forearm"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>
    <limit effort="30" velocity="2" lower="-1" upper="1.5"/><dynamics damping="0.2"/>
  </joint>
</robot>"""


def test_urdf_on_its_fixed_base(tmp_path: Path) -> None:
    path = tmp_path / "arm.urdf"
    path.write_text(URDF)
    model = load_model(path)
    assert (model.name, model.nl, model.nc) == ("arm", 1, 0)
    assert model.joint_name == ("elbow",)
    np.testing.assert_allclose(model.link_pos[0], [0, 0, 0.1])
    np.testing.assert_allclose(model.link_com[0], [0, 0, 0.3])
    np.testing.assert_allclose(model.joint_range, [[-1, 1.5]])
    np.testing.assert_allclose(model.dof_damping, [0.2])
    assert (model.actuator_name, model.actuator_gear.tolist()) == (("elbow",), [30.0])


def test_urdf_floating_on_a_ground() -> None:
    model = load_model(URDF, floating=True, ground=-1.0, name="walker")
    assert (model.name, model.nl, model.nq, model.nc) == ("walker", 2, 8, 9)
    assert list(model.joint_type) == [JointType.FREE, JointType.HINGE]
    assert model.joint_name == ("base_root", "elbow")
    np.testing.assert_allclose(model.link_mass, [5, 2])
    assert model.ground_height == -1.0
    assert {b.name for b in model.bodies} == {"base", "forearm"}
    assert np.isfinite(twin.forward_dynamics(model, model.q_ref, np.ones(7), np.ones(1))).all()


def test_mjcf_can_be_set_floating() -> None:
    arm = '<body name="base"><geom size="0.1"/><body><joint name="j"/><geom size="0.1" pos="0.3 0 0"/></body></body>'
    assert list(load(arm, floating=True).joint_type) == [JointType.FREE, JointType.HINGE]
