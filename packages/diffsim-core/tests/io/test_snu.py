"""Skeletons and muscles in MASS's formats: frames, gains, and errors by name."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from diffsim_core.io import ModelError, load_snu
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_muscles import lengths_and_moments
from diffsim_core.rigid.model import JointType

from .hostile import check, mutate
from .snu_files import MUSCLES, SKELETON

TURN = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def load(folder: Path, skeleton: str = SKELETON, muscles: str = MUSCLES, **options):
    a, b = folder / "skeleton.xml", folder / "muscles.xml"
    a.write_text(skeleton)
    b.write_text(muscles)
    return load_snu(a, b, **options)


def test_places_and_gains(tmp_path: Path) -> None:
    m = load(tmp_path, strength=0.36)
    assert m.joint_name == ("Trunk", "Thigh", "Shin")
    assert [JointType(t) for t in m.joint_type] == [JointType.FREE, JointType.BALL, JointType.HINGE]
    np.testing.assert_allclose(m.link_mass, [15, 3.75, 2.5])
    kin = twin.kinematics(m, m.q_ref)
    np.testing.assert_allclose(kin.position, [[0, 0, 1], [0, 0, 0.85], [0.01, 0, 0.45]], atol=1e-12)
    np.testing.assert_allclose(kin.rotation, np.tile(np.eye(3), (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(m.joint_axis[2], [0, 1, 0])  # the files' x is the left
    np.testing.assert_allclose(m.joint_range[2], [0, 2.3])
    ratio = np.array([15, 3.75, 2]) / 15
    np.testing.assert_allclose(m.limit_stiffness, 1e3 * ratio)
    np.testing.assert_allclose(m.limit_damping, 10 * ratio)
    np.testing.assert_allclose(m.joint_stiffness, [0, 2.5 * np.sqrt(0.25), 5 * np.sqrt(2 / 15)])
    np.testing.assert_allclose(m.dof_damping, [0] * 6 + [2] * 4)
    np.testing.assert_allclose(m.dof_armature, [0] * 6 + [0.05] * 4)
    assert m.contact_law == m.limit_law == "released"
    assert m.nc == 8 + 8 + 2 + 1


def test_paths(tmp_path: Path) -> None:
    m = load(tmp_path, strength=0.5)
    assert m.muscles.name == m.actuator_name == ("front", "back", "foot")
    np.testing.assert_allclose(m.muscles.gear, [-250, -150, -50])
    np.testing.assert_array_equal(m.actuator_range, np.tile([0, 1], (3, 1)))
    points = np.array([[0.01, 0.95, 0.05], [0, 0.6, 0.06], [0, 0.47, 0.06], [0, 0.4, 0.05]])
    lengths, _ = lengths_and_moments(m, *twin.kinematics(m, m.q_ref))
    assert lengths[0] == pytest.approx(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    assert lengths[1] == pytest.approx(0.3)
    kin = twin.kinematics(m, m.q_ref)
    link, pos = m.muscles.segment_link[0, 0], m.muscles.segment_pos[0, 0]
    np.testing.assert_allclose(kin.position[link] + kin.rotation[link] @ pos, TURN @ points[0], atol=1e-12)


def test_released_inertia_is_an_elementwise_product(tmp_path: Path) -> None:
    """Of the thigh's box: of R only 0.8^2, 1 and 0.8^2 remain; the paper law turns it properly."""
    box = 3.75 / 12 * np.array([0.4**2 + 0.1**2, 0.1**2 + 0.1**2, 0.1**2 + 0.4**2])  # x, y, z of the file
    R = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    released, paper = load(tmp_path), load(tmp_path, inertia_law="paper")
    np.testing.assert_allclose(released.link_inertia[1], TURN @ np.diag([0.64, 1, 0.64] * box) @ TURN.T, atol=1e-12)
    np.testing.assert_allclose(paper.link_inertia[1], TURN @ R @ np.diag(box) @ R.T @ TURN.T, atol=1e-12)


def test_keep_leaves_muscles_of_other_bodies_out(tmp_path: Path) -> None:
    m = load(tmp_path, keep=["Trunk", "Thigh", "Shin"])
    assert m.actuator_name == ("front", "back")
    assert any("1 muscles with points on bodies that are not kept" in note for note in m.notes)
    with pytest.raises(ValueError, match="keep names Shank"):
        load(tmp_path, keep=["Trunk", "Shank"])
    with pytest.raises(ModelError, match='"Shin" has the parent "Thigh", which no body before it is called'):
        load(tmp_path, keep=["Trunk", "Shin"])


CASES = {
    "zero mass": (('mass="3.75"', 'mass="0"'), "", 'body "Thigh" has the mass 0'),
    "negative mass": (('mass="2"', 'mass="-2"'), "", 'body "Shin" has the mass -2'),
    "nan": (('translation="0 0.65 0"', 'translation="0 nan 0"'), "", 'node "Thigh": <Transformation> has translation'),
    "infinite": (('mass="15"', 'mass="inf"'), "", 'node "Trunk": <Body> has mass="inf": give 1 finite numbers'),
    "flat": (('size="0.2 0.3 0.1"', 'size="0.2 0 0.1"'), "", 'body "Trunk" has the size'),
    "two trees": (('parent="Trunk"', 'parent="None"'), "", 'body "Thigh" has no parent, and is not the first'),
    "disconnected": (('parent="Thigh"', 'parent="Knee"'), "", 'body "Shin" has the parent "Knee"'),
    "twice": (('name="Shin"', 'name="Thigh"'), "", 'body "Thigh" is there twice'),
    "joint": (('type="Weld"', 'type="Universal"'), "", 'a joint of type "Universal" is not simulated'),
    "shape": (('type="Sphere"', 'type="Mesh"'), "", 'a body of type "Mesh" is not simulated'),
    "axis": (('axis="1 0 0"', 'axis="0 0 0"'), "", 'the joint of body "Shin" needs an axis'),
    "nameless": (('Node name="Ball"', "Node"), "", "not a <Node> with a name"),
    "bodiless": (("<Body type", "<Corpse type"), "", "mismatched tag"),
    "one point": ("", ('<Waypoint body="Thigh" p="0 0.7 -0.05"/>', ""), 'muscle "back" has 1 point'),
    "no force": ("", ('f0="300"', 'f0="0"'), 'muscle "back" has the force 0'),
    "force is text": ("", ('f0="300"', 'f0="big"'), 'muscle "back": <Unit> has f0="big": give 1 finite numbers'),
    "missing body": ("", ('body="Ball"', 'body="Toe"'), 'muscle "foot" has a point on "Toe", which no body is called'),
    "bad point": ("", ('p="0 0.3 0"', 'p="0 0.3"'), 'muscle "foot": <Waypoint> has p="0 0.3": give 3 finite numbers'),
    "muscle twice": ("", ('name="back"', 'name="front"'), 'muscle "front" is there twice'),
    "not muscles": ("", ("Muscle>", "Muscles>"), "its root element is <Muscles>: expected <Muscle>"),
    "entity": ("", ("<Muscle>", '<!DOCTYPE m [<!ENTITY a "b">]><Muscle>'), "declares an XML entity"),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_name_the_element(tmp_path: Path, name: str) -> None:
    in_skeleton, in_muscles, words = CASES[name]
    skeleton = SKELETON.replace(*in_skeleton) if in_skeleton else SKELETON
    muscles = MUSCLES.replace(*in_muscles) if in_muscles else MUSCLES
    with pytest.raises(ModelError) as caught:
        load(tmp_path, skeleton, muscles)
    assert words in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_snu(tmp_path / "a.xml", tmp_path / "b.xml")
    with pytest.raises(ValueError, match="strength is 0"):
        load(tmp_path, strength=0)


@pytest.mark.parametrize("first", range(0, 600, 200))
def test_mutated_files(tmp_path: Path, first: int) -> None:
    """An error of ours or a valid model, whatever happens to the files."""
    loaded = 0
    for index in range(first, first + 200):
        rng = random.Random(index)
        texts = [SKELETON, MUSCLES]
        damaged = rng.randrange(2)
        texts[damaged] = mutate(texts[damaged], rng).encode("utf-8", "replace").decode()
        try:
            model = load(tmp_path, *texts)
        except ModelError:
            continue
        check(model)
        loaded += 1
    assert 10 < loaded < 190
