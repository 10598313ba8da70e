"""``Loops``: stiff springs that hold a place on one link at a place on another, and so close chains of links."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Loops:
    """``n`` closures between two links, or a link and the world.

    Each pulls two points together. With the gap ``d`` between them, and the velocity ``u`` of the second link against
    the first at the middle between the points::

        force = stiffness d + damping u            on the first link, its opposite on the second

    A closure with ``torsion`` holds the axes of both places too, like a weld. Their gap is the sine of the angle
    between them along its axis. Forces and torques act at the middle, so they change neither momentum nor its moment.
    """

    name: tuple[str, ...] = ()
    link: IntArray
    """``[n, 2]`` links of both places; one of them may be -1, the world."""
    pos: FloatArray
    """``[n, 2, 3]`` the points in their links' frames [m]."""
    quat: FloatArray
    """``[n, 2, 4]`` attitudes of the places in their links' frames, wxyz; used where there is torsion."""
    stiffness: FloatArray
    """``[n]`` [N/m]."""
    damping: FloatArray
    """``[n]`` [N s/m]."""
    torsion: FloatArray
    """``[n]`` stiffness of the attitude [N m/rad]; zero where turning is free."""
    torsion_damping: FloatArray
    """``[n]`` [N m s/rad]."""

    @classmethod
    def none(cls) -> Loops:
        """No closures at all."""
        zero = np.zeros(0)
        return cls(
            link=np.zeros((0, 2), np.int64),
            pos=np.zeros((0, 2, 3)),
            quat=np.zeros((0, 2, 4)),
            stiffness=zero,
            damping=zero,
            torsion=zero,
            torsion_damping=zero,
        )

    @property
    def n(self) -> int:
        """Number of closures."""
        return len(self.link)

    @property
    def welded(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``[n]`` whether each holds the attitude too."""
        return (self.torsion > 0) | (self.torsion_damping > 0)

    def non_finite(self) -> list[str]:
        """Names of the fields that hold something infinite or not a number."""
        arrays = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [name for name, value in arrays if isinstance(value, np.ndarray) and not np.isfinite(value).all()]
