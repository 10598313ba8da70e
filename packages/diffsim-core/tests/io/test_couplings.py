"""Equality constraints between joints and URDF's ``<mimic>``: which joint follows which."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid import full_state

ARM = """<mujoco><compiler angle="radian"/><option><flag contact="disable"{flag}/></option><worldbody>
  <body><joint name="a" axis="0 1 0" ref="0.3"/><geom size="0.1" pos="1 0 0"/>
    <body><joint name="b" axis="1 0 0" ref="0.2"/><geom size="0.1" pos="1 0 0"/></body>
    <body><joint name="c" axis="1 0 0" type="slide"/><geom size="0.1" pos="1 0 0"/></body></body>
  <body><joint name="d" axis="0 0 1"/><geom size="0.1" pos="1 0 0"/></body>
</worldbody><equality>{equality}</equality></mujoco>"""

INERTIA = '<inertia ixx="0.001" iyy="0.001" izz="0.001" ixy="0" ixz="0" iyz="0"/>'
FINGER = """<link name="{name}"><inertial><origin xyz="0 0.02 0.05"/><mass value="0.1"/>{inertia}</inertial></link>
  <joint name="{name}" type="prismatic"><origin xyz="0 0 0.2"/><parent link="palm"/><child link="{name}"/>
    <axis xyz="0 1 0"/><limit lower="-0.1" upper="0.1" effort="5" velocity="1"/>{mimic}</joint>"""
GRIPPER = f"""<robot name="gripper"><link name="base"/>
  <link name="palm"><inertial><mass value="1"/>{INERTIA}</inertial></link>
  <joint name="wrist" type="continuous"><parent link="base"/><child link="palm"/><axis xyz="0 0 1"/></joint>
  {FINGER.format(name="left", inertia=INERTIA, mimic="")}
  {FINGER.format(name="right", inertia=INERTIA, mimic='<mimic joint="left" multiplier="-1.5" offset="0.01"/>')}
</robot>"""


def arm(equality: str, flag: str = "") -> str:
    return ARM.format(equality=equality, flag=flag)


def followed(model) -> dict[str, str | None]:
    c, names = model.couplings, model.joint_name
    return {names[i]: names[j] if j >= 0 else None for i, j in zip(c.link, c.leader, strict=True)}


def assert_satisfied(model, xml: str) -> None:
    """MuJoCo finds no residual of its constraints in what the model makes of random coordinates."""
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    for q in np.random.default_rng(0).normal(size=(3, model.nq)) * 0.3:
        d.qpos[:] = full_state(model, q).q
        mujoco.mj_forward(m, d)
        assert (d.efc_type == int(mujoco.mjtConstraint.mjCNSTR_EQUALITY)).sum() == len(model.couplings)
        np.testing.assert_allclose(d.efc_pos[d.efc_type == int(mujoco.mjtConstraint.mjCNSTR_EQUALITY)], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("equality", "expected"),
    [
        ('<joint joint1="a" joint2="b" polycoef="0.1 2 -0.3 0.2 0.1"/>', {"a": "b"}),
        ('<joint joint1="a" joint2="b"/><joint joint1="b" joint2="c" polycoef="0 0 1 0 0"/>', {"b": "c", "a": "b"}),
        ('<joint joint1="a" polycoef="0.1 7 0 0 0"/>', {"a": None}),
        # a has two laws, and the linear one is turned around
        (
            '<joint joint1="a" joint2="b" polycoef="0.1 2 1 0 0"/>'
            '<joint joint1="a" joint2="c" polycoef="0.2 -3 0 0 0"/>',
            {"a": "b", "c": "a"},
        ),
        # what a held joint leads is held
        ('<joint joint1="b" joint2="a"/><joint joint1="b" polycoef="0.2"/>', {"b": None, "a": "b"}),
        ('<joint joint1="a" joint2="b"/><joint joint1="d" joint2="c"/>', {"a": "b", "d": "c"}),
    ],
)
def test_followers_and_laws_are_mujocos(equality: str, expected: dict[str, str | None]) -> None:
    model = load_model(arm(equality))
    assert followed(model) == expected
    assert (model.nq, model.nv) == (4 - len(expected), 4 - len(expected))
    assert_satisfied(model, arm(equality))
    assert any("hold exactly, where MuJoCo's are soft" in note for note in model.notes)


def test_mimic() -> None:
    model = load_model(GRIPPER)
    assert followed(model) == {"right": "left"} and model.nv == 2
    assert_satisfied(model, GRIPPER)
    np.testing.assert_allclose(full_state(model, [0.3, 0.04]).q, [0.3, 0.04, 0.01 - 1.5 * 0.04], atol=1e-15)
    assert model.actuator_name == ("left",)  # a joint that mimics another has no motor of its own


@pytest.mark.parametrize(
    ("xml", "note"),
    [
        (arm('<joint name="off" joint1="a" joint2="b" active="false"/>'), 'equality "off" is switched off'),
        (arm('<joint name="off" joint1="a" joint2="b"/>', ' equality="disable"'), 'equality "off" is switched off'),
        (arm('<joint name="off" joint1="a" joint2="b"/>', ' constraint="disable"'), 'equality "off" is switched off'),
    ],
)
def test_inactive_ones_are_left_out_and_named(xml: str, note: str) -> None:
    model = load_model(xml)
    assert len(model.couplings) == 0 and any(note in text for text in model.notes)


@pytest.mark.parametrize(
    ("equality", "words"),
    [
        (
            '<joint name="x" joint1="a" joint2="b"/><joint name="y" joint1="b" joint2="c"/>'
            '<joint name="z" joint1="c" joint2="a"/>',
            'equality "z": joint "c" is tied already',
        ),
        ('<joint name="x" joint1="a"/><joint name="y" joint1="a" polycoef="0.1"/>', 'equality "y": joint "a" is tied'),
        (
            '<joint name="x" joint1="a" joint2="b" polycoef="0 1 1 0 0"/>'
            '<joint name="y" joint1="a" joint2="c" polycoef="0 0 0 0 0"/>',
            'equality "x", equality "y": a joint would follow two others',
        ),
        ("".join(f'<joint joint1="{name}"/>' for name in "abcd"), "nothing in it can move"),
    ],
)
def test_what_cannot_be_followed_is_refused(equality: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(arm(equality))


def test_a_follower_without_mass_of_its_own_is_no_singular_joint() -> None:
    """Two joints of one body that repeat each other have a regular mass matrix once one follows the other."""
    twice = arm("").replace('<joint name="d"', '<joint name="e" axis="0 0 1"/><joint name="d"')
    with pytest.raises(ModelError, match=r'singular.*"e", "d"'):
        load_model(twice)
    model = load_model(twice.replace("<equality>", '<equality><joint joint1="e" joint2="d"/>'))
    assert followed(model) == {"e": "d"}
