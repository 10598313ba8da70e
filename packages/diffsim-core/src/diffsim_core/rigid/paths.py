"""``Paths``: the lengths along which muscles and tendons act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Lengths of ``n`` units: ``L = sum of scale |b - a| over segments + sum of scale q over joints``.

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
    term_first: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[n + 1]`` first term of each unit, and the number of terms; none if left out."""
    term_joint: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[terms]`` slide or hinge joint whose coordinate the length contains."""
    term_scale: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[terms]`` what a metre or radian of it adds to the unit's length."""

    def __post_init__(self) -> None:
        if not len(self.term_first):
            object.__setattr__(self, "term_first", np.zeros(len(self.first), np.int64))

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


class Path(NamedTuple):
    """One unit's length on the way to :class:`Paths`."""

    segments: Sequence[tuple[int, FloatArray, int, FloatArray, float]] = ()
    """``(link, pos, link, pos, scale)`` of each segment."""
    terms: Sequence[tuple[int, float]] = ()
    """``(joint, scale)`` of each joint."""


def path_arrays(paths: list[Path]) -> dict[str, Any]:
    """The fields of :class:`Paths`."""
    segments = [segment for path in paths for segment in path.segments]
    terms = [term for path in paths for term in path.terms]
    return {
        "first": np.cumsum([0, *(len(path.segments) for path in paths)]).astype(np.int64),
        "segment_link": np.array([(s[0], s[2]) for s in segments], dtype=np.int64).reshape(-1, 2),
        "segment_pos": np.array([(s[1], s[3]) for s in segments], dtype=np.float64).reshape(-1, 2, 3),
        "segment_scale": np.array([s[4] for s in segments], dtype=np.float64),
        "term_first": np.cumsum([0, *(len(path.terms) for path in paths)]).astype(np.int64),
        "term_joint": np.array([t[0] for t in terms], dtype=np.int64),
        "term_scale": np.array([t[1] for t in terms], dtype=np.float64),
    }
