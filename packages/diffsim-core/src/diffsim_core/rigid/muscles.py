"""``Muscles``: units that pull along straight lines through points on links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray
from diffsim_core.rigid.paths import Path, Paths, Segment, path_arrays


class HillConstants(NamedTuple):
    """Constants of MuJoCo's muscle model, in the words of its documentation (Modeling, Muscle actuators)."""

    length_low: float
    """Lengths of the unit (times gear) that ``range_low`` and ``range_high`` stand for [m]."""
    length_high: float
    range_low: float
    """Operating range in units of the optimal fibre length."""
    range_high: float
    force: float
    """Peak active force at rest F0 [N]."""
    lmin: float
    """Fibre lengths between which active force is not zero; its peak is at 1."""
    lmax: float
    vmax: float
    """Shortening velocity at which active force ends [optimal lengths per second]."""
    fpmax: float
    """Passive force at ``lmax`` in units of F0."""
    fvmax: float
    """Active force at saturated lengthening in units of F0."""
    tau_act: float
    """Time constant of activation [s]."""
    tau_deact: float
    """Time constant of deactivation [s]."""
    tau_smooth: float
    """Width of the smooth change between the two."""


@dataclass(frozen=True, kw_only=True)
class Muscles(Paths):
    """``n`` units, of which ``na`` have an activation, and their paths.

    A unit without activation is a motor on its path, ``f = gear u``, so a muscle that pulls has a negative gear. A unit
    of Hill's type follows MuJoCo::

        f = -gear F0 (FL(L) FV(V) act + FP(L)),     d act / dt = (u - act) / tau(u, act)
    """

    name: tuple[str, ...] = ()
    control: IntArray
    """``[n]`` which control drives each unit."""
    gear: FloatArray
    """``[n]`` force [N] for a control of one, or, for Hill's type, MuJoCo's scale of length and force."""
    activation: IntArray
    """``[n]`` index of the unit's activation in the state, -1 without one."""
    hill: FloatArray
    """``[n, 13]`` :class:`HillConstants`; zeros where there is no activation."""

    @classmethod
    def none(cls) -> Muscles:
        """No units at all."""
        empty = np.zeros(0, np.int64)
        return cls(
            control=empty,
            gear=np.zeros(0),
            activation=empty,
            hill=np.zeros((0, len(HillConstants._fields))),
            first=np.zeros(1, np.int64),
            segment_link=np.zeros((0, 2), np.int64),
            segment_pos=np.zeros((0, 2, 3)),
            segment_scale=np.zeros(0),
        )

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.control)

    @property
    def na(self) -> int:
        """Number of activations."""
        return int(np.count_nonzero(self.activation >= 0))

    def constants(self, unit: int) -> HillConstants:
        """Hill's constants of a unit."""
        return HillConstants(*(float(x) for x in self.hill[unit]))


class Unit(NamedTuple):
    """One unit on the way to :class:`Muscles`."""

    name: str
    control: int
    gear: float
    segments: Sequence[Segment]
    hill: HillConstants | None = None
    terms: Sequence[tuple[int, float]] = ()
    """``(joint, scale)`` of each joint."""
    activation: int | None = None
    """Index in the state of the activation of Hill's type; by default they are numbered in their order."""


def muscles_of(units: list[Unit]) -> Muscles:
    """Put units together."""
    if not units:
        return Muscles.none()
    activation = list[int]()
    for unit in units:
        own = sum(a >= 0 for a in activation) if unit.activation is None else unit.activation
        activation.append(own if unit.hill else -1)
    none = (0.0,) * len(HillConstants._fields)
    return Muscles(
        name=tuple(unit.name for unit in units),
        control=np.array([unit.control for unit in units], dtype=np.int64),
        gear=np.array([unit.gear for unit in units], dtype=np.float64),
        activation=np.array(activation, dtype=np.int64),
        hill=np.array([unit.hill or none for unit in units], dtype=np.float64),
        **path_arrays([Path(unit.segments, unit.terms) for unit in units]),
    )
