"""Penalty parameters of contact, joint limits and closed loops: what MJCF and URDF have no words for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

SINK_DEPTH = 0.005
"""Greatest depth [m] at which four points carry the weight of a tree under the default normal stiffness."""

PAIR_RATE = 480.0
"""Fastest rate [1/s] of the default springs of contact between bodies on the bodies' own inertias."""

LIMIT_RATE = 150.0
"""Rate [1/s] at which a limit of the default stiffness pushes a joint back into its range."""


@dataclass(frozen=True, kw_only=True)
class ContactParams:
    """Parameters of the contact law, Eq. 3 of the SHAC paper (Xu et al. 2022). ``None`` leaves a value to the
    model file, and then to the default.
    """

    kn: float | None = None
    """Normal stiffness k_n [N/m]. Default ``m g / (4 depth)`` with m the mass of the tree that the shape belongs to: at
    rest on four points it sinks by ``depth``, which is 5 mm, or less for what is small: at most 1/80 of half the tree's
    extent, and 1/8 of half the shape's least extent. Between two shapes ``m g / depth`` with the mass of the lighter
    tree, times the root of the ratio of the masses (within a tree, of the lighter branch, or a tenth of the tree). A
    value that is given is that of each moving shape, and two are springs in series."""
    kd: float | None = None
    """Normal damping k_d [N s/m^2], multiplies depth times approach speed. Default ``0.25 kn`` at a depth of 5 mm,
    and ``0.25 kn sqrt(5 mm / depth)`` at a lesser one: as much of a bounce is lost."""
    kt: float | None = None
    """Tangential (stick) damping k_t [N s/m]. Default 0.2 times the k_n of a depth of 5 mm.
    Stiff for light feet: an explicit integrator may need less."""
    mu: float | None = None
    """Friction coefficient. Default MuJoCo's: the larger sliding friction of shape and plane (that of the
    higher ``priority`` if they differ; zero for ``condim`` 1)."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class LimitParams:
    """Parameters of the joint-limit law, Eq. 4 of the SHAC paper. ``None`` leaves a value to the model file,
    and then to the default.
    """

    stiffness: float | None = None
    """k_limit [N/m] or [N m/rad]. Default ``I (150 / s)^2`` with I the inertia that the joint feels while all
    others are free: a joint is back in its range in some 20 ms, be it of a finger or of a crane."""
    damping: float | None = None
    """[N s/m] or [N m s/rad], of the ``released`` and ``damped`` laws. Default 10 in
    the former, critical damping in the latter."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class LoopParams:
    """Parameters of what holds closed loops together (``connect`` and ``weld``). ``None`` leaves a value to the model
    file, and then to the default.
    """

    stiffness: float | None = None
    """[N/m]. By default the gap is a 20000th of the robot's size, and at most 0.05 mm, under the robot's weight or the
    force of its motors."""
    damping: float | None = None
    """[N s/m]. Default ``0.004 stiffness``: a gap closes in 4 ms."""
    torsion: float | None = None
    """Stiffness of a weld's attitude [N m/rad]. By default the robot's weight at a lever of its size turns it by
    0.5 mrad; times the equality's ``torquescale`` squared."""
    torsion_damping: float | None = None
    """[N m s/rad]. Default ``0.004 torsion``."""
    solref: bool = False
    """Take time constant and damping ratio from each equality's ``solref`` instead, for the mass that it moves in the
    initial pose."""

    def __post_init__(self) -> None:
        _check(self)


Params = TypeVar("Params", ContactParams, LimitParams, LoopParams)


def fill(params: Params | None, fallback: Params) -> Params:
    """``params`` with its ``None`` fields taken from ``fallback``."""
    if params is None:
        return fallback
    given = {f.name: value for f in fields(params) if (value := getattr(params, f.name)) is not None}
    return replace(fallback, **given)


def _check(params: ContactParams | LimitParams | LoopParams) -> None:
    for f in fields(params):
        value = getattr(params, f.name)
        if value is not None and not (math.isfinite(value) and value >= 0.0):
            raise ValueError(f"{type(params).__name__}.{f.name} is {value}: give a finite number of at least 0")
