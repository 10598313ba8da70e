"""``KinematicChain``: rigid shapes that move as joints say, without mass; a hand or a tool that works on dough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._nearest import unknown
from diffsim_core.rigid import JOINTS, Geom, RigidModel
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Numbers, Plane, Shape, SignedDistanceGrid, Sphere

_KINDS = ("hinge", "slide")
UNBOUNDED = 1e30
"""A limit that is never met, in float32 too."""


@dataclass(frozen=True, kw_only=True)
class Joint:
    """One degree of freedom. Its frame has its origin on the axis and moves with the joint.

    Raises:
        ValueError: for an unknown kind, an axis or orientation of no length, or limits in the wrong order.
    """

    name: str
    kind: str = "hinge"
    """``"hinge"``, which turns, or ``"slide"``."""
    axis: Sequence[float] = (0.0, 0.0, 1.0)
    """Axis in its own frame ``[3]``, of any length."""
    parent: str | None = None
    """The joint that carries it; ``None`` is the world."""
    pos: Sequence[float] = (0.0, 0.0, 0.0)
    """Origin in the parent's frame, at position 0 [m]."""
    quat: Sequence[float] = (1.0, 0.0, 0.0, 0.0)
    """Orientation in the parent's frame, at position 0, wxyz."""
    limits: tuple[float, float] = (-UNBOUNDED, UNBOUNDED)
    """Lowest and highest position [rad] or [m]."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(unknown(f"kind of joint {self.name!r}", self.kind, _KINDS))
        for name, size in (("axis", 3), ("pos", 3), ("quat", 4)):
            given = np.asarray(getattr(self, name), dtype=np.float64)
            if given.shape != (size,) or not np.isfinite(given).all():
                raise ValueError(f"joint {self.name!r}: {name}={getattr(self, name)!r} must be {size} finite numbers")
            if name != "pos" and not np.linalg.norm(given) > 0:
                raise ValueError(f"joint {self.name!r}: {name}={getattr(self, name)!r} must not be zero")
        if not self.limits[0] <= self.limits[1]:
            raise ValueError(f"joint {self.name!r}: limits={self.limits!r} must be in rising order")


class Tables(NamedTuple):
    """A chain as ``_source/chain.h`` reads it."""

    integers: Numbers
    reals: Numbers


class ShapeTables(NamedTuple):
    """Shapes as ``_source/shapes.h`` reads them."""

    integers: list[int]
    reals: Numbers
    samples: Numbers


def pack_shapes(shapes: Sequence[Shape], owners: Sequence[int]) -> ShapeTables:
    """All numbers of shapes, each in the frame of its owner: a joint, or -1 for the world."""
    integers: list[int] = []
    reals: list[float] = []
    samples: list[Numbers] = [np.zeros(0)]
    first = 0
    for shape, owner in zip(shapes, owners, strict=True):
        sampled = isinstance(shape, SignedDistanceGrid)
        integers += [shape.kind, owner, first, *(shape.samples.shape if sampled else (0, 0, 0))]
        reals += [*shape.size, shape.rounding, shape.friction, shape.softness, shape.reach]
        reals += [shape.ball + shape.reach, *place(shape)]
        if sampled:
            samples.append(np.asarray(shape.samples, np.float64).ravel())
            first += shape.samples.size
    return ShapeTables(integers, np.array(reals, np.float64), np.concatenate(samples))


@dataclass(frozen=True)
class KinematicChain:
    """Joints, each after its parent, and the shapes that they and the world carry.

    Raises:
        ValueError: for a name that occurs twice or that no earlier joint has, and for a chain without shapes.
    """

    joints: tuple[Joint, ...]
    shapes: tuple[Shape, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "joints", tuple(self.joints))
        object.__setattr__(self, "shapes", tuple(self.shapes))
        if not self.shapes:
            raise ValueError("a chain without shapes does nothing: give it shapes, or leave it out")
        seen: list[str] = []
        for joint in self.joints:
            if joint.name in seen:
                raise ValueError(f"two joints are called {joint.name!r}: rename one")
            if joint.parent is not None and joint.parent not in seen:
                raise ValueError(
                    f"{unknown('joint', joint.parent, seen)}: the parent of {joint.name!r} must come first"
                )
            seen.append(joint.name)
        for shape in self.shapes:
            if shape.joint is not None and shape.joint not in seen:
                raise ValueError(f"{shape.label}: {unknown('joint', shape.joint, seen)}")

    @property
    def nq(self) -> int:
        """Number of joints, which is that of joint positions."""
        return len(self.joints)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the joints, in the order of their positions."""
        return tuple(joint.name for joint in self.joints)

    @property
    def limits(self) -> Numbers:
        """Lowest and highest positions ``[nq, 2]`` [rad] or [m]."""
        return np.array([joint.limits for joint in self.joints]).reshape(-1, 2)

    def index(self, joint: str | None) -> int:
        """Place of a joint of this name in the order; -1 for the world."""
        return -1 if joint is None else self.names.index(joint)

    def pack(self) -> Tables:
        """All numbers of the chain, in two tables."""
        integers: list[Any] = [len(self.joints), len(self.shapes)]
        reals: list[Any] = []
        for joint in self.joints:
            integers += [_KINDS.index(joint.kind), self.index(joint.parent)]
            reals += [*unit(joint.axis), *joint.limits, *place(joint)]
        shapes = pack_shapes(self.shapes, [self.index(shape.joint) for shape in self.shapes])
        numbers = np.concatenate([np.array(reals, np.float64), shapes.reals, shapes.samples])
        return Tables(np.array([*integers, *shapes.integers], np.int32), numbers)

    @classmethod
    def from_model(
        cls,
        model: RigidModel,
        *,
        friction: float = 0.5,
        softness: float = 666.0,
        leave_out: Collection[str] = (),
        keep: Callable[[Geom], bool] = lambda geom: True,
    ) -> KinematicChain:
        """The joints and shapes of a model of hinges and slides, such as one of :func:`diffsim_core.io.load_model`.

        Args:
            model: whose limits, axes and shapes are taken; masses, springs and actuators do not matter.
            friction: of all shapes.
            softness: of all shapes [1/m].
            leave_out: names of shapes that do not push, for instance meshes for the eye.
            keep: says of each shape whether it pushes.

        Raises:
            ValueError: for joints of other kinds or that follow others, and for shapes that are none of this package's;
                all are named.
        """
        wrong = [
            f"joint {name!r} is of type {JOINTS.at(int(kind)).name!r}, only hinge and slide move a chain"
            for name, kind in zip(model.joint_name, model.joint_type, strict=True)
            if JOINTS.at(int(kind)).name not in _KINDS
        ]
        wrong += [
            f"joint {model.joint_name[i]!r} follows another one, which a chain's do not: give uncoupled(model)"
            for i in model.couplings.link
        ]
        geoms = [geom for geom in model.geoms if geom.name not in leave_out and keep(geom)]
        wrong += [
            f"shape {geom.name!r} is of type {geom.type!r}: leave it out, or replace it by a SignedDistanceGrid"
            for geom in geoms
            if geom.type not in _SHAPES
        ]
        if wrong:
            raise ValueError(f"model {model.name!r} cannot become a kinematic chain: " + "; ".join(wrong))
        joints = [_joint_of(model, i) for i in range(model.nl)]
        common = {"friction": friction, "softness": softness}
        shapes = [
            _SHAPES[geom.type](
                geom.size,
                name=geom.name,
                joint=model.joint_name[geom.link] if geom.link >= 0 else None,
                pos=tuple(geom.pos.tolist()),
                quat=tuple(geom.quat.tolist()),
                **common,
            )
            for geom in geoms
        ]
        return cls(tuple(joints), tuple(shapes))


_SHAPES: dict[str, Callable[..., Shape]] = {
    "sphere": lambda size, **shape: Sphere(radius=float(size[0]), **shape),
    "capsule": lambda size, **shape: Capsule(radius=float(size[0]), half_length=float(size[1]), **shape),
    "cylinder": lambda size, **shape: Cylinder(radius=float(size[0]), half_length=float(size[1]), **shape),
    "box": lambda size, **shape: Box(half_sizes=tuple(map(float, size)), **shape),
    "plane": lambda size, **shape: Plane(**shape),
}


def unit(vector: Sequence[float] | Numbers) -> Numbers:
    """The vector at length 1."""
    v = np.asarray(vector, dtype=np.float64)
    return v / np.linalg.norm(v)


def place(item: Joint | Shape) -> Numbers:
    """Pose ``[12]`` in the parent's frame: axes, one after the other, and origin."""
    return np.concatenate([rotation(unit(item.quat)).T.ravel(), np.asarray(item.pos, np.float64)])


def _joint_of(model: RigidModel, i: int) -> Joint:
    """A model's joint; its positions count from the model's zero, not from where the file draws it."""
    kind = JOINTS.at(int(model.joint_type[i])).name
    axis, at = model.joint_axis[i], float(model.q_ref[model.joint_q[i]])
    pos, quat = np.array(model.link_pos[i], np.float64), np.array(model.link_quat[i], np.float64)
    if kind == "hinge":
        half = -0.5 * at
        quat = quat_mul(quat, np.concatenate([[np.cos(half)], np.sin(half) * unit(axis)]))
    else:
        pos = pos - at * (rotation(unit(quat)) @ unit(axis))
    parent, (low, high) = int(model.link_parent[i]), model.joint_range[i]
    return Joint(
        name=model.joint_name[i],
        kind=kind,
        axis=tuple(axis.tolist()),
        parent=model.joint_name[parent] if parent >= 0 else None,
        pos=tuple(pos.tolist()),
        quat=tuple(quat.tolist()),
        limits=(float(low), float(high)) if model.joint_limited[i] else (-UNBOUNDED, UNBOUNDED),
    )
