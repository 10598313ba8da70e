"""``Paths``: the lengths along which muscles and tendons act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray

NO_SIDE = -2
"""``wrap_side_link`` of a shape without a side site."""


class WrapKind(IntEnum):
    """Shapes that a path can wrap around."""

    SPHERE = 0
    CYLINDER = 1


class Wrap(NamedTuple):
    """A shape that a segment may wrap around, on the way to :class:`Paths`."""

    kind: WrapKind
    link: int
    pos: FloatArray
    axis: FloatArray
    radius: float
    side_link: int = NO_SIDE
    side_pos: FloatArray = np.zeros(3)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Lengths of ``n`` units: ``L = sum of scale |b - a| over segments + sum of scale q over joints``.

    Between the ends of a segment that wraps around a shape, the shortest way around it counts in place of ``|b - a|``.

    A force ``f`` along a length gives the generalised force ``f dL/dq``.
    """

    first: IntArray
    """``[n + 1]`` first segment of each unit, and the number of segments."""
    segment_link: IntArray
    """``[segments, 2]`` links of both ends; -1 is the world."""
    segment_pos: FloatArray
    """``[segments, 2, 3]`` ends in their links' frames [m]."""
    segment_scale: FloatArray
    """``[segments]`` what a metre adds to the unit's length; one but for pulleys."""
    segment_wrap: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[segments]`` shape that each may wrap around, -1 for straight ones; all are straight if left out."""
    wrap_kind: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[wraps]`` :class:`WrapKind` of each shape."""
    wrap_link: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[wraps]`` link that carries it; -1 is the world."""
    wrap_pos: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[wraps, 3]`` centre in the link's frame [m]."""
    wrap_axis: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[wraps, 3]`` unit axis of a cylinder in the link's frame."""
    wrap_radius: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[wraps]`` [m]."""
    wrap_side_link: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[wraps]`` link of a side site: the path passes on that side, or, if the site is inside, through the shape; -2
    without one."""
    wrap_side_pos: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[wraps, 3]`` side site in its link's frame [m]."""
    term_first: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[n + 1]`` first term of each unit, and the number of terms; none if left out."""
    term_joint: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[terms]`` slide or hinge joint whose coordinate the length contains."""
    term_scale: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[terms]`` what a metre or radian of it adds to the unit's length."""

    def __post_init__(self) -> None:
        if not len(self.term_first):
            object.__setattr__(self, "term_first", np.zeros(len(self.first), np.int64))
        if not len(self.segment_wrap):
            object.__setattr__(self, "segment_wrap", np.full(len(self.segment_link), -1, np.int64))

    def segments(self, unit: int) -> range:
        """Indices of a unit's segments."""
        return range(int(self.first[unit]), int(self.first[unit + 1]))

    def terms(self, unit: int) -> range:
        """Indices of a unit's terms."""
        return range(int(self.term_first[unit]), int(self.term_first[unit + 1]))

    def non_finite(self) -> list[str]:
        """Names of the fields that hold something infinite or not a number."""
        arrays = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [name for name, value in arrays if isinstance(value, np.ndarray) and not np.isfinite(value).all()]


Segment = tuple[int, FloatArray, int, FloatArray, float] | tuple[int, FloatArray, int, FloatArray, float, Wrap | None]
"""``(link, pos, link, pos, scale)`` of a segment, and what it may wrap around."""


class Path(NamedTuple):
    """One unit's length on the way to :class:`Paths`."""

    segments: Sequence[Segment] = ()
    terms: Sequence[tuple[int, float]] = ()
    """``(joint, scale)`` of each joint."""


def path_arrays(paths: list[Path]) -> dict[str, Any]:
    """The fields of :class:`Paths`."""
    segments = [segment for path in paths for segment in path.segments]
    terms = [term for path in paths for term in path.terms]
    around = [segment[5] if len(segment) > 5 else None for segment in segments]
    wraps = [wrap for wrap in around if wrap is not None]
    number = np.cumsum([wrap is not None for wrap in around]) - 1
    return {
        "first": np.cumsum([0, *(len(path.segments) for path in paths)]).astype(np.int64),
        "segment_link": np.array([(s[0], s[2]) for s in segments], dtype=np.int64).reshape(-1, 2),
        "segment_pos": np.array([(s[1], s[3]) for s in segments], dtype=np.float64).reshape(-1, 2, 3),
        "segment_scale": np.array([s[4] for s in segments], dtype=np.float64),
        "segment_wrap": np.array([-1 if a is None else n for a, n in zip(around, number, strict=True)], dtype=np.int64),
        "wrap_kind": np.array([w.kind for w in wraps], dtype=np.int64),
        "wrap_link": np.array([w.link for w in wraps], dtype=np.int64),
        "wrap_pos": np.array([w.pos for w in wraps], dtype=np.float64).reshape(-1, 3),
        "wrap_axis": np.array([w.axis for w in wraps], dtype=np.float64).reshape(-1, 3),
        "wrap_radius": np.array([w.radius for w in wraps], dtype=np.float64),
        "wrap_side_link": np.array([w.side_link for w in wraps], dtype=np.int64),
        "wrap_side_pos": np.array([w.side_pos for w in wraps], dtype=np.float64).reshape(-1, 3),
        "term_first": np.cumsum([0, *(len(path.terms) for path in paths)]).astype(np.int64),
        "term_joint": np.array([t[0] for t in terms], dtype=np.int64),
        "term_scale": np.array([t[1] for t in terms], dtype=np.float64),
    }
