"""Random articulated systems as MJCF, for comparing engines: every joint type, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class TreeOptions:
    """What the random trees may hold."""

    max_bodies: int = 7
    plane: bool = False
    """A ground plane that all shapes may touch."""
    hills: bool = False
    """A height field in the plane's place."""
    round_shapes: bool = False
    """Cylinders and ellipsoids beside spheres, capsules and boxes."""
    scale: float = 1.0
    """Size of the shapes, which touch each other more often if it is larger."""
    relatives: bool = False
    """Let the shapes of parent and child touch."""
    springs: bool = True
    """Stiffness, damping and armature."""
    free_only: bool = False
    """One tree on a free joint, with no springs or dampers to the world."""


def random_tree(seed: int, options: TreeOptions | None = None) -> str:
    """MJCF of a random system: several trees, several joints per body, welded bodies, off-diagonal inertias."""
    o = options or TreeOptions()
    rng = np.random.default_rng(seed)
    mask = 'friction="0.7" contype="0" conaffinity="3"'
    plane = f'<geom name="ground" type="plane" size="9 9 1" pos="0 0 -0.3" {mask}/>' if o.plane else ""
    assets = ""
    if o.hills:
        plane = f'<geom name="ground" type="hfield" hfield="hills" pos="0 0 -0.5" {mask}/>'
        elevation = _numbers(np.random.default_rng(seed).uniform(0, 1, 42))
        hills = f'<hfield name="hills" nrow="6" ncol="7" size="1.5 1.2 0.5 0.1" elevation="{elevation}"/>'
        assets = f"<asset>{hills}</asset>"
    roots = 1 if o.free_only else int(rng.integers(1, 3))
    motors: list[str] = []
    left = [int(rng.integers(1, o.max_bodies + 1))]
    trees = "".join(_body(rng, o, left, motors, root=True) for _ in range(roots))
    gravity = _numbers(rng.normal(size=3) * 3) if not (o.plane or o.hills) else "0 0 -9.81"
    return f"""<mujoco model="tree_{seed}">
  <compiler angle="radian"/>
  <option gravity="{gravity}"><flag filterparent="{"disable" if o.relatives else "enable"}"/></option>
  {assets}<worldbody>{plane}{trees}</worldbody>
  <actuator>{"".join(motors)}</actuator>
</mujoco>"""


def random_state(rng: Rng, model_nq: int, joint_types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Random coordinates (unit quaternions) and velocities for joints of MuJoCo's types, in their order."""
    q, nv = [], 0
    for kind in joint_types:
        if kind == 0:
            q.append(rng.normal(size=3))
        if kind <= 1:
            quat = rng.normal(size=4)
            q.append(quat / np.linalg.norm(quat))
        else:
            q.append(rng.normal(size=1))
        nv += (6, 3, 1, 1)[kind]
    out = np.concatenate(q)
    assert len(out) == model_nq
    return out, rng.normal(size=nv)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _body(rng: Rng, o: TreeOptions, left: list[int], motors: list[str], root: bool) -> str:
    left[0] -= 1
    welded = not root and rng.random() < 0.2
    joints = "" if welded else _joints(rng, o, motors, root)
    children = ""
    while left[0] > 0 and rng.random() < 0.75:
        children += _body(rng, o, left, motors, root=False)
    pose = f'pos="{_numbers(rng.normal(size=3) * 0.4)}" quat="{_numbers(rng.normal(size=4))}"'
    return f"<body {pose}>{joints}{_inertial(rng)}{_geom(rng, o)}{children}</body>"


def _joints(rng: Rng, o: TreeOptions, motors: list[str], root: bool) -> str:
    if root and (o.free_only or rng.random() < 0.4):
        damping = f' damping="{rng.uniform(0, 1):.4g}"' if o.springs and not o.free_only else ""
        return f'<joint type="free"{damping}/>' if damping else "<freejoint/>"
    kinds = list(rng.choice(["slide", "hinge"], size=int(rng.integers(1, 4)), p=[0.35, 0.65]))
    if rng.random() < 0.25:
        kinds[-1] = "ball"  # MuJoCo lets no rotation follow a ball joint in one body
    xml = ""
    for k, kind in enumerate(kinds):
        name = f"j{rng.integers(1 << 40)}_{k}"
        xml += f'<joint name="{name}" type="{kind}" pos="{_numbers(rng.normal(size=3) * 0.2)}"'
        # joints of one body move it about nearly the same point: armature keeps the mass matrix well conditioned
        xml += f' armature="{rng.uniform(0.05, 0.3):.4g}"'
        if o.springs:
            xml += f' damping="{rng.uniform(0, 1):.4g}" stiffness="{rng.choice([0, rng.uniform(0, 5)]):.4g}"'
        if kind != "ball":
            xml += f' axis="{_numbers(rng.normal(size=3))}" ref="{rng.normal():.4g}" springref="{rng.normal():.4g}"'
            if rng.random() < 0.5:
                motors.append(f'<motor joint="{name}" gear="{rng.uniform(-9, 9):.4g}" ctrlrange="-2 3"/>')
        xml += "/>"
    return xml


def _inertial(rng: Rng) -> str:
    """A solid with an off-diagonal inertia: ``trace(P) 1 - P`` of a positive definite second moment P."""
    A = rng.normal(size=(3, 3)) * 0.2
    P = A @ A.T + 0.01 * np.eye(3)
    inertia = np.trace(P) * np.eye(3) - P
    full = [inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2]]
    mass = rng.uniform(0.2, 3)
    return f'<inertial mass="{mass:.6g}" pos="{_numbers(rng.normal(size=3) * 0.2)}" fullinertia="{_numbers(full)}"/>'


def _geom(rng: Rng, o: TreeOptions) -> str:
    numbers = {"sphere": 1, "capsule": 2, "box": 3} | ({"cylinder": 2, "ellipsoid": 3} if o.round_shapes else {})
    kind = str(rng.choice(list(numbers)))
    size = _numbers(o.scale * rng.uniform(0.05, 0.2, size=numbers[kind]))
    mask = "" if o.plane or o.hills else ' contype="0" conaffinity="0"'
    if kind in ("cylinder", "ellipsoid"):
        mask = ' contype="2" conaffinity="0"'  # these touch the ground alone
    pose = f'pos="{_numbers(rng.normal(size=3) * 0.1)}" quat="{_numbers(rng.normal(size=4))}"'
    return f'<geom type="{kind}" size="{size}" {pose}{mask}/>'
