"""Friction and margin of two shapes that touch, by MuJoCo's rules."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_name


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
    if _overrides(m):
        friction, margin = m.opt.o_friction, float(m.opt.o_margin)
    margin = max(margin, 0.0)
    mu, second, spin, roll, _ = (float(x) for x in friction)
    if condim == 1 or mu <= 0:
        return Attributes(0.0, margin=margin)
    ratio = second / mu
    return Attributes(mu, ratio, spin / mu if condim >= 4 else 0.0, roll / mu if condim >= 6 else 0.0, margin)


def _overrides(m: Any) -> bool:
    return bool(m.opt.enableflags & mujoco.mjtEnableBit.mjENBL_OVERRIDE)


def pair_notes(m: Any, pairs: list[tuple[int, int]]) -> list[str]:
    """What contact between bodies leaves out of the attributes of ``pairs`` of shapes, one sentence each."""
    plain = not (np.any(m.geom_margin) or np.any(np.asarray(m.geom_condim) > 3) or m.npair or _overrides(m))
    found = {} if plain else {pair: attributes(m, *pair) for pair in pairs}
    left_out = {
        "margin": [pair for pair, a in found.items() if a.margin],
        "torsional and rolling friction": [pair for pair, a in found.items() if a.spin or a.roll],
        "the second sliding coefficient": [pair for pair, a in found.items() if a.ratio != 1],
    }
    notes: list[str] = []
    for what, pairs_with in left_out.items():
        names = [" and ".join(f'"{geom_name(m, g)}"' for g in pair) for pair in pairs_with[:3]]
        if pairs_with:
            rest = f" and {len(pairs_with) - 3} other pairs" if len(pairs_with) > 3 else ""
            notes.append(f"contact between bodies leaves out {what}: {', '.join(names)}{rest}")
    return notes


def find_pair(m: Any, g: int, s: int) -> int | None:
    """Index of the ``pair`` element of two shapes."""
    a, b = np.asarray(m.pair_geom1), np.asarray(m.pair_geom2)
    found = np.flatnonzero(((a == g) & (b == s)) | ((a == s) & (b == g)))
    return int(found[0]) if len(found) else None


def friction_of(m: Any, g: int, s: int) -> float:
    """Sliding friction of two shapes."""
    return attributes(m, g, s).mu
