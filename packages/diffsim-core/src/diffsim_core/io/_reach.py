"""Which fixed obstacles a robot that is bolted to the world can reach at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from diffsim_core.io._joints import joint_of
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import Body, FloatArray

_SLACK = 1.5
"""By how much a slide may exceed its range: limits are springs."""


class _Link(Protocol):
    """What this module reads of a link on its way to the model."""

    @property
    def parent(self) -> int: ...

    @property
    def joint(self) -> int: ...

    @property
    def pos(self) -> FloatArray: ...


def within_reach(
    m: Any, links: Sequence[_Link], bodies: Sequence[Body], found: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """``found`` without the pairs of a moving shape and a fixed one whose spheres can never meet."""
    centre, radius = _reach(m, links)
    return [pair for pair in found if _can_meet(m, bodies, pair, centre, radius)]


def _reach(m: Any, links: Sequence[_Link]) -> tuple[list[FloatArray], list[float]]:
    """A point of the world for each link, and how far from it the link's origin can get."""
    centre: list[FloatArray] = []
    radius: list[float] = []
    for link in links:
        joint = joint_of(m, link.joint)
        travel = 0.0 if joint.name in ("hinge", "ball") else np.inf
        if joint.name == "slide" and m.jnt_limited[link.joint]:
            travel = _SLACK * float(np.abs(m.jnt_range[link.joint] - m.qpos0[m.jnt_qposadr[link.joint]]).max())
        if link.parent < 0:
            centre.append(np.asarray(link.pos))
            radius.append(travel)
        else:
            centre.append(centre[link.parent])
            radius.append(radius[link.parent] + float(np.linalg.norm(link.pos)) + travel)
    return centre, radius


def _can_meet(
    m: Any, bodies: Sequence[Body], pair: tuple[int, int], centre: Sequence[FloatArray], radius: Sequence[float]
) -> bool:
    fixed, moving = sorted(pair, key=lambda g: bodies[m.geom_bodyid[g]].link)
    link = bodies[m.geom_bodyid[moving]].link
    if bodies[m.geom_bodyid[fixed]].link >= 0:
        return True
    obstacle, shape = (_place(m, bodies, g) for g in (fixed, moving))
    spheres = float(m.geom_rbound[fixed] + m.geom_rbound[moving])
    return float(np.linalg.norm(obstacle - centre[link])) <= radius[link] + float(np.linalg.norm(shape)) + spheres


def _place(m: Any, bodies: Sequence[Body], g: int) -> FloatArray:
    """Of a shape in its link's frame."""
    body = bodies[m.geom_bodyid[g]]
    return body.pos + rotation(body.quat) @ m.geom_pos[g]
