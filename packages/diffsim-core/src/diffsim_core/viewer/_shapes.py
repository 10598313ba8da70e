"""Types of shapes, and what each is drawn as: a new type is one entry here, for pages, live views and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple


class Part(NamedTuple):
    """A ball, box or cylinder along z, stretched."""

    mesh: Literal["sphere", "box", "cylinder"]
    half: tuple[float, float, float]
    """Half extents [m]; those of a cylinder along x and y are equal."""
    z: float = 0.0
    """Of its centre, along the shape's axis [m]."""


def _capsule(size: Sequence[float]) -> tuple[Part, ...]:
    r, half = size[:2]
    return Part("cylinder", (r, r, half)), Part("sphere", (r, r, r), half), Part("sphere", (r, r, r), -half)


def _box(size: Sequence[float]) -> tuple[Part, ...]:
    return (Part("box", (size[0], size[1], size[2])),)


PARTS: dict[str, Callable[[Sequence[float]], tuple[Part, ...]]] = {
    "sphere": lambda size: (Part("sphere", (size[0], size[0], size[0])),),
    "capsule": _capsule,
    "box": _box,
    "cylinder": lambda size: (Part("cylinder", (size[0], size[0], size[1])),),
    "ellipsoid": lambda size: (Part("sphere", (size[0], size[1], size[2])),),
    "plane": lambda size: (),  # the ground, which each viewer draws in its own way
    "mesh": _box,  # the box about it
}
"""``size -> parts`` by type, from the three size parameters of :class:`Shape`."""


def register_shape(type: str, parts: Callable[[Sequence[float]], tuple[Part, ...]]) -> None:
    """Make a type of shape known to the viewers of this process.

    Args:
        type: as ``Shape.type`` names it.
        parts: ``size -> parts``.

    Raises:
        ValueError: the type exists already.
    """
    if type in PARTS:
        raise ValueError(f"shape type {type!r} exists already; choose another name")
    PARTS[type] = parts
