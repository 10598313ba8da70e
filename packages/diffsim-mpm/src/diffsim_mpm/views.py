"""What viewers show of particles and of the shapes that push them: a motion for the core's pages and videos."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.viewer import Deformable, Footage, Motion
from diffsim_core.viewer import Shape as Drawn
from diffsim_mpm.chain import KinematicChain, place, unit
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.rigid import RigidBody
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Numbers, Plane, Shape, SignedDistanceGrid, Sphere
from diffsim_mpm.twin_coupling import poses

PALETTE = {
    "fixed_corotated": (0.45, 0.68, 0.40),
    "neo_hookean": (0.36, 0.62, 0.58),
    "von_mises": (0.86, 0.64, 0.40),
    "drucker_prager": (0.80, 0.70, 0.48),
    "fluid": (0.25, 0.52, 0.82),
}
"""Colours by material."""
_OTHER = (0.62, 0.48, 0.72)
_SHAPE = (0.78, 0.76, 0.74, 1.0)
_RIGID = (0.72, 0.30, 0.24, 1.0)
_SEEN_THROUGH = (0.78, 0.76, 0.74, 0.25)


def motion_of(model: MpmModel, footage: Footage, *, name: str, dt: float) -> Motion:
    """The motion of a rollout on :class:`diffsim_mpm.MpmDynamics`.

    Particles are coloured by material; the viewers can colour them by two shades instead: ``strain``, the size of
    Green's strain of F, which is the elastic one where there is plastic flow, and ``flow``, the shear that a particle
    went through since the episode began, there and back.

    Args:
        model: whose states they are.
        footage: states ``[T, N, ...]`` and what belongs to them.
        name: of the task.
        dt: time between frames [s].
    """
    x = np.asarray(footage.physics.x)
    shades = {"strain": _strain(footage.physics.F), "flow": _flow(footage.physics.C, footage.begins, dt)}
    deformables = [_cloud(model, body, x, shades) for body in model.bodies]
    chain = model.shapes
    drawn, position, quaternion = _still(x) if chain is None else _moved(chain, footage)
    names = [shape.name for shape in drawn]
    if model.nr:
        pose = np.asarray(footage.physics.pose, np.float64)
        for body in model.rigid_bodies:
            drawn += _drawn_body(body, len(names))
            names.append(body.name)
        attitude = pose[..., 3:] / np.linalg.norm(pose[..., 3:], axis=-1, keepdims=True)
        position = np.concatenate([position, pose[..., :3]], axis=2)
        quaternion = np.concatenate([quaternion, attitude], axis=2)
    # bodies come to rest about a cell above the last node that is held
    floor = Drawn(
        name="ground",
        type="plane",
        body=-1,
        pos=(0.5 * model.cells[0] * model.dx, 0.5 * model.cells[1] * model.dx, float(model.sides[2, 0])),
        quat=(1.0, 0.0, 0.0, 0.0),
        size=(0.0, 0.0, 1.0),
        rgba=(0.9, 0.9, 0.9, 1.0),
    )
    return Motion(
        name=name,
        dt=dt,
        bodies=tuple(names),
        shapes=(floor, *drawn),
        position=position,
        quaternion=quaternion,
        begins=footage.begins,
        curves=dict(footage.curves),
        deformables=tuple(deformables),
    )


def _cloud(model: MpmModel, body: MpmBody, x: Numbers, shades: dict[str, Numbers]) -> Deformable:
    part = model.slice_of(body.name)
    return Deformable(
        name=body.name,
        position=x[:, :, part],
        rgb=np.array(PALETTE.get(body.material, _OTHER)),
        radius=0.9 * _spacing(body.particles),
        shades={name: shade[:, :, part] for name, shade in shades.items()},
    )


def _spacing(points: Numbers) -> float:
    """Median distance of some particles from their nearest neighbours [m]."""
    some = points[:: max(len(points) // 200, 1)]
    apart = np.linalg.norm(some[:, None] - points, axis=2)
    apart[apart == 0] = np.inf
    nearest = apart.min(axis=1)
    return float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 0.01


def _strain(F: Any) -> Numbers:
    """Size of Green's strain ``[T, N, n]``."""
    F = np.asarray(F)
    green = 0.5 * (np.swapaxes(F, -1, -2) @ F - np.eye(3, dtype=F.dtype))
    return np.sqrt((green**2).sum(axis=(-2, -1)))


def _flow(C: Any, begins: Any, dt: float) -> Numbers:
    """Sum of the equivalent strain rate over the time since the episode began ``[T, N, n]``."""
    C = np.asarray(C)
    rate = 0.5 * (C + np.swapaxes(C, -1, -2))
    rate = rate - np.trace(rate, axis1=-2, axis2=-1)[..., None, None] * np.eye(3, dtype=C.dtype) / 3
    step = dt * np.sqrt(2 / 3 * (rate**2).sum(axis=(-2, -1)))
    total = np.zeros_like(step)
    for t in range(1, len(step)):
        total[t] = np.where(np.asarray(begins)[t][:, None], 0.0, total[t - 1] + step[t])
    return total


def _still(x: Numbers) -> tuple[list[Drawn], Numbers, Numbers]:
    T, N = x.shape[:2]
    return [], np.zeros((T, N, 0, 3)), np.zeros((T, N, 0, 4))


def _moved(chain: KinematicChain, footage: Footage) -> tuple[list[Drawn], Numbers, Numbers]:
    """A body for each shape, and where it is ``[T, N, ns, 3]``, ``[T, N, ns, 4]``."""
    q = getattr(footage.physics, "q", None)
    T, N = np.shape(footage.physics.x)[:2]
    q = np.zeros((T, N, 0)) if q is None else np.asarray(q, np.float64)
    pose = np.array([poses(chain, each) for each in q.reshape(T * N, -1)]).reshape(T, N, -1, 12)
    drawn = [_drawn(shape, k) for k, shape in enumerate(chain.shapes)]
    seen = [k for k, shape in enumerate(drawn) if shape is not None]
    shapes = [Drawn(**{**vars(drawn[k]), "body": i}) for i, k in enumerate(seen)]
    return shapes, pose[:, :, seen, 9:], quaternions(pose[:, :, seen, :9])


def _drawn_body(body: RigidBody, k: int) -> list[Drawn]:
    """What is drawn of a rigid body, which is number ``k``."""
    drawn = []
    for i, shape in enumerate(body.placed):
        at, own = place(shape), _drawn(shape, k)
        assert own is not None  # no shape of a body is a plane
        turned = {
            "name": shape.name or (body.name if len(body.shapes) == 1 else f"{body.name} {i}"),
            "pos": tuple((at[9:] + np.asarray(own.pos) @ at[:9].reshape(3, 3)).tolist()),
            "quat": tuple(unit(shape.quat).tolist()),
            "rgba": _RIGID if shape.visible else _SEEN_THROUGH,
        }
        drawn.append(Drawn(**{**vars(own), **turned}))
    return drawn


def _drawn(shape: Shape, k: int) -> Drawn | None:
    """What is drawn of a shape in its own frame; nothing of a plane that is not the ground."""
    middle: tuple[float, ...] = (0.0, 0.0, 0.0)
    match shape:
        case Sphere():
            kind, size = "sphere", (shape.radius, 0.0, 0.0)
        case Capsule():
            kind, size = "capsule", (shape.radius, shape.half_length, 0.0)
        case Cylinder():
            kind, size = "cylinder", (shape.radius, shape.half_length, 0.0)
        case Box():
            x, y, z = (float(half) + shape.radius for half in shape.half_sizes)
            kind, size = "box", (x, y, z)
        case SignedDistanceGrid():
            low, high = _box_about(shape)
            kind, size = "mesh", tuple((0.5 * (high - low)).tolist())
            middle = tuple((0.5 * (high + low)).tolist())
        case Plane():
            return None
        case _:
            raise TypeError(f"{shape.label} has no drawing")
    return Drawn(
        name=shape.name or f"shape {k}",
        type=kind,
        body=k,
        pos=middle,
        quat=(1.0, 0.0, 0.0, 0.0),
        size=size,
        rgba=_SHAPE if shape.visible else _SEEN_THROUGH,
    )


def _box_about(shape: SignedDistanceGrid) -> tuple[Numbers, Numbers]:
    """Corners of the box about the inside, in the shape's frame [m]."""
    inside = np.argwhere(np.asarray(shape.samples) < 0)
    origin = np.asarray(shape.origin, np.float64)
    return origin + shape.spacing * inside.min(axis=0), origin + shape.spacing * inside.max(axis=0)


def quaternions(axes: Numbers) -> Numbers:
    """Unit quaternions wxyz ``[..., 4]`` of rotations given by their axes, one after the other ``[..., 9]``."""
    a = axes.reshape(*axes.shape[:-1], 3, 3)  # row k is axis k: the transpose of the matrix
    trace = [np.ones(3), [1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1]]
    squares = np.stack([1 + sum(s * a[..., i, i] for i, s in enumerate(signs)) for signs in trace], axis=-1)
    # each row is the quaternion times four times its own k-th entry; the largest entry divides best
    x, y, z = (a[..., 1, 2] - a[..., 2, 1], a[..., 2, 0] - a[..., 0, 2], a[..., 0, 1] - a[..., 1, 0])
    xy, xz, yz = (a[..., 0, 1] + a[..., 1, 0], a[..., 0, 2] + a[..., 2, 0], a[..., 1, 2] + a[..., 2, 1])
    w2, x2, y2, z2 = np.moveaxis(squares, -1, 0)
    rows = np.stack([[w2, x, y, z], [x, x2, xy, xz], [y, xy, y2, yz], [z, xz, yz, z2]])
    rows = np.moveaxis(rows, (0, 1), (-2, -1))
    best = np.take_along_axis(rows, squares.argmax(axis=-1)[..., None, None], axis=-2)[..., 0, :]
    return best / np.linalg.norm(best, axis=-1, keepdims=True)
