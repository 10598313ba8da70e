"""Friction and margin of two shapes that touch, by MuJoCo's rules."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._mujoco import mujoco


class Attributes(NamedTuple):
    """What MuJoCo's ``friction``, ``condim`` and ``margin`` come to."""

    mu: float
    """Sliding friction; along the first tangent, where ``ratio`` is not one."""
    ratio: float = 1.0
    """Sliding friction along the second tangent, as a part of ``mu``."""
    spin: float = 0.0
    """Torsional friction over ``mu`` [m]; zero for ``condim`` below 4."""
    roll: float = 0.0
    """Rolling friction over ``mu`` [m]; zero for ``condim`` below 6."""
    margin: float = 0.0
    """Distance [m] at which contact begins."""

    def greatest(self, other: Attributes) -> Attributes:
        """Of both the greater value each."""
        return Attributes(*map(max, self, other))


def attributes(m: Any, g: int, s: int | None) -> Attributes:
    """Of shapes ``g`` and ``s``, or of ``g`` on a ground that has none of its own.

    An explicit ``pair`` decides; else the shape of higher ``priority``, else the greater values. Margins add up. With
    ``override`` friction and margin are the option's.
    """
    p = None if s is None else find_pair(m, g, s)
    if p is not None:
        condim, friction, margin = int(m.pair_dim[p]), m.pair_friction[p], float(m.pair_margin[p])
    else:
        shapes = [g] if s is None else [g, s]
        first = max(int(m.geom_priority[i]) for i in shapes)
        deciding = [i for i in shapes if int(m.geom_priority[i]) == first]
        condim = max(int(m.geom_condim[i]) for i in deciding)
        friction = np.max(m.geom_friction[deciding], axis=0)[[0, 0, 1, 2, 2]]
        margin = float(np.sum(m.geom_margin[shapes]))
    if m.opt.enableflags & mujoco.mjtEnableBit.mjENBL_OVERRIDE:
        friction, margin = m.opt.o_friction, float(m.opt.o_margin)
    margin = max(margin, 0.0)
    mu, second, spin, roll, _ = (float(x) for x in friction)
    if condim == 1 or mu <= 0:
        return Attributes(0.0, margin=margin)
    ratio = second / mu
    return Attributes(mu, ratio, spin / mu if condim >= 4 else 0.0, roll / mu if condim >= 6 else 0.0, margin)


def find_pair(m: Any, g: int, s: int) -> int | None:
    """Index of the ``pair`` element of two shapes."""
    a, b = np.asarray(m.pair_geom1), np.asarray(m.pair_geom2)
    found = np.flatnonzero(((a == g) & (b == s)) | ((a == s) & (b == g)))
    return int(found[0]) if len(found) else None


def friction_of(m: Any, g: int, s: int) -> float:
    """Sliding friction of two shapes."""
    return attributes(m, g, s).mu
