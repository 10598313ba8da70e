"""A robot that is bolted down far from the origin moves as one at the origin, to the bit in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffsim_core.io import load_model
from diffsim_core.rigid import RigidModel, RigidState, Sensors
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import random_states, step, vjp
from .test_muscles import random_muscle_states, with_muscles
from .trees import TreeOptions, random_tree

PLACE = np.array([4096.0, -2048.0, 512.0])
ROOTS = {
    "hinge": '<joint axis="0 1 0"/>',
    "ball": '<joint type="ball"/>',
    "hinges": '<joint axis="0 1 0" pos="0.1 0 0"/><joint axis="1 0 0" pos="0 0.1 0"/>',
    "hinge, slide": '<joint axis="0 0 1"/><joint type="slide" axis="1 0 0.3"/>',
    "slide, hinge": '<joint type="slide" axis="1 0.2 0"/><joint axis="0 1 0" pos="0 0 0.1"/>',
    "slides": '<joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 0.6 0.8"/>',
    "slide, ball": '<joint type="slide" axis="0 1 0"/><joint type="ball"/>',
    "hinge, ball": '<joint axis="0 1 0"/><joint type="ball" pos="0.1 0 0"/>',
}


def arm(root: str, place: np.ndarray, ground: bool = False) -> RigidModel:
    """Three links on a static body at ``place``, which is at another angle there, and ground that it is in."""
    at = " ".join(map(str, place))
    plane = f'<geom type="plane" size="9 9 1" pos="0 0 {place[2] + 0.5}"/>' if ground else ""
    links = """<geom type="capsule" size=".02" fromto="0 0 0 .2 0 0" mass=".3"/>
      <body pos=".2 0 0"><joint axis="0 1 0" damping="0.1"/>
        <geom type="box" size=".02 .03 .04" pos="0.1 0 0" mass=".2"/>
        <body pos=".2 0 0"><joint type="ball" stiffness="1"/><geom size=".04" pos="0.1 0 0" mass=".1"/></body></body>"""
    base = f'<body pos="{at}" quat="0.9 0.1 -0.3 0.2"><body pos="0.25 0 0.125">{root}{links}</body></body>'
    return load_model(f"<mujoco><worldbody>{plane}{base}</worldbody></mujoco>")


def results(model: RigidModel, seed: int = 0) -> list[np.ndarray]:
    """What a control step and its gradient give in float32."""
    dynamics = RigidDynamics(model, dt=1 / 60, substeps=4, threads=1)
    q, qd, u = random_states(model, 8, seed, "float32")
    out = step(dynamics, q, qd, u)
    assert out.ok.all()
    bars = [np.random.default_rng(k).standard_normal(x.shape).astype("float32") for k, x in enumerate((q, qd))]
    return [out.q, out.qd, *vjp(dynamics, q, qd, u, *bars)]


@pytest.mark.parametrize("root", ROOTS)
def test_motion_and_gradient_are_the_same_to_the_bit(root: str) -> None:
    here, there = (results(arm(ROOTS[root], place)) for place in (0 * PLACE, PLACE))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("root", ROOTS)
def test_touching_level_ground_changes_nothing(root: str) -> None:
    place = PLACE * [1, 1, 0]
    here, there = (results(arm(ROOTS[root], at, ground=True)) for at in (0 * place, place))
    free = results(arm(ROOTS[root], place))
    assert not np.array_equal(free[1], there[1])
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("root", ROOTS)
def test_sensors_see_the_place_and_nothing_else(root: str) -> None:
    read = []
    for place in (0 * PLACE, PLACE):
        model = arm(ROOTS[root], place)
        q, qd, _ = random_states(model, 4, 2, "float32")
        names = [f"{kind}:{model.bodies[-1].name}" for kind in ("position", "velocity", "gyro", "quaternion")]
        sensors = Sensors(RigidDynamics(model, dt=0.01, substeps=1, threads=1), names)
        read.append(sensors(RigidState(torch.tensor(q), torch.tensor(qd))).numpy())
    np.testing.assert_allclose(read[1][:, :3] - PLACE, read[0][:, :3], atol=1e-3)
    np.testing.assert_array_equal(read[1][:, 3:], read[0][:, 3:])


def test_random_trees_with_muscles_and_contact_between_bodies_move_alike() -> None:
    """In float64: lengths between trees and distances between shapes have the rounding of places in the world."""
    place = " ".join(map(str, PLACE))
    found = 0
    for seed in range(60):
        xml = random_tree(seed, TreeOptions(max_bodies=4, scale=2.0, relatives=True))
        if "free" in xml.replace("freejoint", "free"):
            continue
        found += 1
        moved = xml.replace("<worldbody>", f'<worldbody><body pos="{place}">')
        motions = []
        for source in (xml, moved.replace("</worldbody>", "</body></worldbody>")):
            model = with_muscles(load_model(source, body_contact=True), seed, world=False)
            q, qd, u, act = random_muscle_states(model, 4, seed)
            dynamics = RigidDynamics(model, dt=0.01, substeps=1, dtype="float64", threads=1)
            motions.append(dynamics.probe(q, qd, u, act=act).qdd)
        assert np.abs(motions[0] - motions[1]).max() < 1e-8 * np.abs(motions[0]).max(), seed
    assert found > 10
