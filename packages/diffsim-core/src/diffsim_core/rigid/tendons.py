"""``Tendons``: actuators and passive forces along lengths that are no muscle's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray
from diffsim_core.rigid.paths import Path, Paths, path_arrays

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

UNLIMITED = 1e30
"""A bound that is never met, in float32 too."""


class ActuatorDynamics(IntEnum):
    """How an actuator's activation follows its control."""

    NONE = 0
    """There is no activation: the control drives the force."""
    INTEGRATOR = 1
    """``d act / dt = u``."""
    FILTER = 2
    """``d act / dt = (u - act) / tau``, by Euler's method."""
    FILTER_EXACT = 3
    """The same, solved exactly for a constant control."""


class AffineConstants(NamedTuple):
    """An actuator's force ``clamp(gain s + offset + by_length L + by_rate dL/dt)``; ``s`` its control or activation."""

    gain: float
    """[N] for ``s`` of one."""
    offset: float = 0.0
    """[N]."""
    by_length: float = 0.0
    """[N/m]; minus the stiffness of a position servo."""
    by_rate: float = 0.0
    """[N s/m]; minus the damping of a servo."""
    lower: float = -UNLIMITED
    """Least force [N]."""
    upper: float = UNLIMITED
    """Greatest force [N]."""
    tau: float = 1.0
    """Time constant of a filter [s]."""
    act_lower: float = -UNLIMITED
    """Least activation."""
    act_upper: float = UNLIMITED
    """Greatest activation."""


class PassiveConstants(NamedTuple):
    """A tendon's own force: ``-stiffness stretch - damping dL/dt``, limits, and ``-friction tanh(dL/dt / slip)``.

    Beyond ``lower`` or ``upper`` by ``x`` the limits add ``-limit_stiffness x - limit_damping |x| / (|x| + limit_width)
    dL/dt``.
    """

    stiffness: float = 0.0
    """[N/m]."""
    spring_lower: float = 0.0
    """Between ``spring_lower`` and ``spring_upper`` [m] the spring is slack."""
    spring_upper: float = 0.0
    damping: float = 0.0
    """[N s/m]."""
    lower: float = -UNLIMITED
    """Range of the length [m]."""
    upper: float = UNLIMITED
    limit_stiffness: float = 0.0
    """[N/m]."""
    limit_damping: float = 0.0
    """[N s/m]."""
    limit_width: float = 1.0
    """Depth [m] at which half of ``limit_damping`` acts."""
    friction: float = 0.0
    """Dry friction [N]."""
    slip: float = 1.0
    """Rate [m/s] at which 76 % of the friction acts."""


@dataclass(frozen=True, kw_only=True)
class Tendons(Paths):
    """``n`` forces along lengths, of which ``na`` have an activation.

    A length is that of a path, a sum of joint coordinates, or one joint's. A unit with a control is an actuator,
    :class:`AffineConstants`; one without is a tendon's own spring, damper, limits and friction,
    :class:`PassiveConstants`. Units of length are those of the joints, so [m] may also be [rad] and [N] then [N m].
    """

    name: tuple[str, ...] = ()
    control: IntArray
    """``[n]`` which control drives each unit, -1 for passive ones."""
    activation: IntArray
    """``[n]`` index of the unit's activation in the state, -1 without one."""
    dynamics: IntArray
    """``[n]`` :class:`ActuatorDynamics` of each."""
    affine: FloatArray
    """``[n, 9]`` :class:`AffineConstants`; zeros for passive units."""
    passive: FloatArray
    """``[n, 11]`` :class:`PassiveConstants`; zeros for actuators."""
    site_link: IntArray
    """``[n]`` link on which an actuator acts as a wrench fixed to it, -1 for other units; such a length is zero."""
    site_wrench: FloatArray
    """``[n, 6]`` moment about the link's origin and force for a force of one, in the link's axes."""

    @classmethod
    def none(cls) -> Tendons:
        """No units at all."""
        return tendons_of([])

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.control)

    @property
    def na(self) -> int:
        """Number of activations."""
        return int(np.count_nonzero(self.activation >= 0))

    @property
    def sums(self) -> BoolArray:
        """``[n]`` whether a unit damps a sum of joint coordinates alone: what an implicit sub-step has on its left."""
        damping = (self.passive[:, [3, 7, 9]] > 0).any(axis=1) | (self.affine[:, 3] < 0)
        return damping & (np.diff(self.first) == 0) & (np.diff(self.term_first) > 0)

    def affine_constants(self, unit: int) -> AffineConstants:
        """Constants of an actuator."""
        return AffineConstants(*(float(x) for x in self.affine[unit]))

    def passive_constants(self, unit: int) -> PassiveConstants:
        """Constants of a passive unit."""
        return PassiveConstants(*(float(x) for x in self.passive[unit]))


class TendonUnit(NamedTuple):
    """One unit on the way to :class:`Tendons`: an actuator with ``affine`` constants, or ``passive`` ones."""

    name: str
    path: Path
    control: int = -1
    activation: int = -1
    dynamics: ActuatorDynamics = ActuatorDynamics.NONE
    affine: AffineConstants | None = None
    passive: PassiveConstants | None = None
    site: tuple[int, FloatArray] | None = None
    """Link and wrench ``[6]``."""


def tendons_of(units: list[TendonUnit]) -> Tendons:
    """Put units together."""
    no_affine, no_passive = ((0.0,) * len(kind._fields) for kind in (AffineConstants, PassiveConstants))
    no_site = (-1, np.zeros(6))
    return Tendons(
        name=tuple(unit.name for unit in units),
        control=np.array([unit.control for unit in units], dtype=np.int64),
        activation=np.array([unit.activation for unit in units], dtype=np.int64),
        dynamics=np.array([unit.dynamics for unit in units], dtype=np.int64),
        affine=np.array([unit.affine or no_affine for unit in units]).reshape(-1, len(no_affine)),
        passive=np.array([unit.passive or no_passive for unit in units]).reshape(-1, len(no_passive)),
        site_link=np.array([(unit.site or no_site)[0] for unit in units], dtype=np.int64),
        site_wrench=np.array([(unit.site or no_site)[1] for unit in units]).reshape(-1, 6),
        **path_arrays([unit.path for unit in units]),
    )
