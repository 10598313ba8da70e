"""Kinematic chains: poses, their gradients, models from files, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import Coupling, couple, uncoupled
from diffsim_mpm import twin_coupling as twin
from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Plane, SignedDistanceGrid, Sphere

from .coupling_probe import Probe

ARM = """<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 1" contype="0" conaffinity="0"/>
    <body name="base" pos="0.1 0.2 0.3" quat="0.9 0.1 -0.2 0.3">
      <joint name="lift" type="slide" axis="0 1 1" range="-0.5 0.5" limited="true"/>
      <joint name="turn" type="hinge" axis="1 2 0" pos="0.02 0 0.01" range="-1 2" limited="true"/>
      <geom name="block" type="box" size="0.1 0.05 0.03" contype="0" conaffinity="0"/>
      <body name="finger" pos="0.2 0 0" quat="0.7 0 0.7 0.1">
        <joint name="bend" type="hinge" axis="0 0.5 1" ref="0.3"/>
        <geom name="tip" type="capsule" fromto="0 0 0 0.1 0 0.1" size="0.02" contype="0" conaffinity="0"/>
        <geom name="ball" type="sphere" pos="0 0.1 0" size="0.03" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
</mujoco>"""


def arm() -> KinematicChain:
    return KinematicChain.from_model(load_model(ARM))


def tree(seed: int, joints: int = 7) -> KinematicChain:
    """Any joints and shapes."""
    random = np.random.default_rng(seed)
    made = [
        Joint(
            name=f"j{k}",
            kind=("hinge", "slide")[k % 3 == 2],
            axis=tuple(random.standard_normal(3)),
            parent=None if k == 0 else f"j{random.integers(-1, k)}".replace("j-1", "") or None,
            pos=tuple(0.3 * random.standard_normal(3)),
            quat=tuple(random.standard_normal(4)),
            limits=(-1.0, 1.0),
        )
        for k in range(joints)
    ]
    places = [
        {"pos": tuple(random.standard_normal(3)), "quat": tuple(random.standard_normal(4))} for _ in range(joints + 1)
    ]
    shapes = [Sphere(radius=0.1, joint=f"j{k}", **places[k]) for k in range(joints)]
    return KinematicChain(tuple(made), (*shapes, Cylinder(radius=0.1, half_length=0.1, **places[-1])))


def test_poses_are_mujocos() -> None:
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_string(ARM)
    data, chain = mujoco.MjData(model), arm()
    assert chain.names == ("lift", "turn", "bend")
    for q in np.random.default_rng(0).uniform(-0.4, 0.4, (5, 3)):
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        for shape, pose in zip(chain.shapes, twin.poses(chain, q), strict=True):
            geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, shape.name)
            np.testing.assert_allclose(pose[9:], data.geom_xpos[geom], atol=1e-12)
            np.testing.assert_allclose(pose[:9].reshape(3, 3).T.ravel(), data.geom_xmat[geom], atol=1e-12)


def test_limits_and_sizes_come_with_the_model() -> None:
    chain = arm()
    np.testing.assert_allclose(chain.limits[:2], [[-0.5, 0.5], [-1, 2]])
    assert chain.limits[2, 1] > 1e6
    floor, block, tip, ball = chain.shapes
    assert isinstance(floor, Plane) and isinstance(block, Box) and isinstance(tip, Capsule) and isinstance(ball, Sphere)
    assert tip.half_length == pytest.approx(0.05 * np.sqrt(2)) and floor.joint is None and ball.joint == "bend"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_poses_are_the_twins(dtype: str) -> None:
    chain, random = tree(1), np.random.default_rng(2)
    q, u = random.uniform(-1, 1, (5, chain.nq)), random.uniform(-1, 1, (5, chain.nq))
    found = Probe(chain, dtype).poses(q, u, 0.7)
    for i in range(5):
        wanted = twin.poses(chain, twin.joints_at(chain, q[i], u[i], 0.7))
        np.testing.assert_allclose(found[i], wanted, atol=3e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_gradient(seed: int) -> None:
    chain, random = tree(seed), np.random.default_rng(seed)
    probe = Probe(chain)
    q, u = random.uniform(-0.9, 0.9, (3, chain.nq)), random.uniform(-0.5, 0.5, (3, chain.nq))
    g = random.standard_normal((3, len(chain.shapes), 12))
    found, h = probe.poses_vjp(q, u, 0.6, g), 1e-6
    for k, wanted in enumerate(found):
        for j in range(chain.nq):
            step = h * np.eye(chain.nq)[j]
            up, down = (probe.poses(*((q + s, u), (q, u + s))[k], 0.6) for s in (step, -step))
            numeric = np.sum(g * (up - down), axis=(1, 2)) / (2 * h)
            np.testing.assert_allclose(wanted[:, j], numeric, atol=1e-7 * max(1.0, np.abs(numeric).max()))
    assert (found[0][np.abs(q + 0.6 * u) > 1] == 0).all()


def test_a_joint_at_its_limit_stays_and_passes_nothing_on() -> None:
    chain = tree(5)
    probe, q, u = Probe(chain), np.full((1, chain.nq), 0.9), np.full((1, chain.nq), 1.0)
    np.testing.assert_allclose(probe.poses(q, u, 0.5)[0], twin.poses(chain, np.ones(chain.nq)), atol=1e-13)
    gq, gu = probe.poses_vjp(q, u, 0.5, np.ones((1, len(chain.shapes), 12)))
    assert (gq == 0).all() and (gu == 0).all()


BAD: dict[str, tuple[Any, str]] = {
    "no shapes": (lambda: KinematicChain((), ()), "without shapes"),
    "twice": (lambda: KinematicChain((Joint(name="a"), Joint(name="a")), (Sphere(radius=1.0),)), "rename one"),
    "parent": (lambda: KinematicChain((Joint(name="a", parent="b"),), (Sphere(radius=1.0),)), "must come first"),
    "unknown joint": (
        lambda: KinematicChain((Joint(name="palm"),), (Sphere(radius=1.0, joint="plam"),)),
        "did you mean",
    ),
    "kind": (lambda: Joint(name="a", kind="hing"), "did you mean 'hinge'"),
    "axis": (lambda: Joint(name="a", axis=(0, 0, 0)), "must not be zero"),
    "limits": (lambda: Joint(name="a", limits=(1.0, 0.0)), "rising order"),
    "radius": (lambda: Sphere(radius=0.0, name="ball"), "Sphere 'ball': radius=0.0 must be positive"),
    "half": (lambda: Box(half_sizes=(1.0, -1.0, 1.0)), "3 positive lengths"),
    "friction": (lambda: Plane(friction=-1.0), "friction=-1.0 must be at least 0"),
    "not finite": (lambda: Plane(pos=(0.0, np.nan, 0.0)), "3 finite numbers"),
    "samples": (lambda: SignedDistanceGrid(samples=np.ones((4, 4)), origin=(0, 0, 0), spacing=0.1), "need at least 4"),
    "outside": (
        lambda: SignedDistanceGrid(samples=np.ones((5, 5, 5)), origin=(0, 0, 0), spacing=0.1),
        "nothing is inside",
    ),
    "rim": (lambda: SignedDistanceGrid(samples=-np.ones((5, 5, 5)), origin=(0, 0, 0), spacing=0.1), "add samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_name(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_models_of_other_joints_and_shapes_are_refused_by_name() -> None:
    text = ARM.replace('<joint name="bend" type="hinge" axis="0 0.5 1" ref="0.3"/>', '<joint name="bend" type="ball"/>')
    text = text.replace('name="ball" type="sphere"', 'name="ball" type="ellipsoid"').replace(
        'size="0.03"', 'size="0.1 0.1 0.2"'
    )
    with pytest.raises(ValueError, match=r"(?s)'bend' is of type 'ball'.*'ball' is of type 'ellipsoid'"):
        KinematicChain.from_model(load_model(text))
    ball = KinematicChain.from_model(load_model(ARM), leave_out=("ball", "floor"))
    assert [shape.name for shape in ball.shapes] == ["block", "tip"]


def test_joints_that_follow_others_are_refused_by_name() -> None:
    model = couple(load_model(ARM), [Coupling("bend", "turn", (0, 1))])
    with pytest.raises(ValueError, match="'bend' follows another one"):
        KinematicChain.from_model(model)
    assert len(KinematicChain.from_model(uncoupled(model)).joints) == 3
