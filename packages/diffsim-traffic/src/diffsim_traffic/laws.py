"""Laws of car following: a driver's acceleration from the own speed, the leader's speed and the gap between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.floating[Any]]]

FREE = 1e12
"""Gap of a driver without a leader [m]; the leader's speed is then the driver's own."""
_SOURCE = Path(__file__).with_name("_source")


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law of car following.

    A new law needs a header that defines ``follow`` and ``valid`` as ``_source/law.h`` says, and the same formula in
    NumPy, which tests compare with the header and ``plot`` draws.
    """

    name: str
    parameters: tuple[str, ...]
    """Names, in the order of the last axis of ``TrafficState.drivers``."""
    units: tuple[str, ...]
    """Unit of each parameter."""
    header: Path
    """The C++ of the law."""
    acceleration: Callable[[Numbers, Numbers, Numbers, Numbers, float], Numbers]
    """``(v, gap, lead_v, parameters [..., np], dt) -> acceleration`` [m/s^2]; arrays that broadcast."""
    max_dt: Callable[[Numbers], Numbers]
    """``parameters [..., np] ->`` the longest accurate time step for such a driver [s]."""
    zero_allowed: tuple[str, ...] = ()
    """Parameters that may be 0; all others must be positive."""
    defines: Mapping[str, int] = field(default_factory=dict)
    """Macros that the header reads."""

    def row(self, **values: float) -> Numbers:
        """Parameters of one driver by name, ``[np]`` float64.

        Raises:
            ValueError: a name is unknown or missing.
        """
        if set(values) != set(self.parameters):
            given, wanted = ", ".join(sorted(values)) or "none", ", ".join(self.parameters)
            raise ValueError(f"law {self.name!r} needs the parameters {wanted}; got {given}")
        return np.array([values[name] for name in self.parameters], dtype=np.float64)

    def check(self, drivers: Numbers, dt: float) -> None:
        """Check that parameters ``[..., np]`` are in range, and ``dt`` [s] short enough for them.

        Raises:
            ValueError: a parameter or ``dt`` is not; the message names it, its value and a remedy.
        """
        values = np.asarray(drivers, dtype=np.float64)
        if values.shape[-1:] != (len(self.parameters),):
            raise ValueError(f"drivers has shape {values.shape}; its last axis must be {', '.join(self.parameters)}")
        for k, (name, unit) in enumerate(zip(self.parameters, self.units, strict=True)):
            column = values[..., k]
            zero_too = name in self.zero_allowed
            good = np.isfinite(column) & ((column >= 0) if zero_too else (column > 0))
            if not good.all():
                wrong = float(column[~good].flat[0])
                wanted = "at least 0" if zero_too else "positive"
                raise ValueError(f"drivers: {name} = {wrong:g} {unit} must be finite and {wanted}")
        longest = float(np.min(self.max_dt(values)))
        if dt > longest * (1 + 1e-9):
            raise ValueError(
                f"dt = {dt:g} s is too long for these drivers, who need steps of at most {longest:g} s"
                f" (law {self.name!r}): take a shorter dt, or drivers who react less sharply"
            )


def _idm(v: Numbers, gap: Numbers, lead_v: Numbers, p: Numbers, dt: float, clip_sum: bool = False) -> Numbers:
    a, b, headway, s0, v0 = np.moveaxis(p, -1, 0)
    wish = v * headway + v * (v - lead_v) / (2 * np.sqrt(a * b))
    desired = np.maximum(0, s0 + wish) if clip_sum else s0 + np.maximum(0, wish)
    return a * (1 - (v / v0) ** 4 - (desired / gap) ** 2)


def _idm_clip_sum(v: Numbers, gap: Numbers, lead_v: Numbers, p: Numbers, dt: float) -> Numbers:
    return _idm(v, gap, lead_v, p, dt, clip_sum=True)


def _idm_max_dt(p: Numbers) -> Numbers:
    a, _, headway, _, v0 = np.moveaxis(p, -1, 0)
    return np.minimum(headway, v0 / (4 * a))  # the speed relaxes to v0 at the rate 4 a / v0


def _ovm(v: Numbers, gap: Numbers, lead_v: Numbers, p: Numbers, dt: float) -> Numbers:
    kappa, v0, length, beta, difference = np.moveaxis(p, -1, 0)
    optimal = v0 * (np.tanh(gap / length - beta) + np.tanh(beta)) / (1 + np.tanh(beta))
    return kappa * (optimal - v) + difference * (lead_v - v)


def _ovm_max_dt(p: Numbers) -> Numbers:
    return 1 / (p[..., 0] + p[..., 4])


def _krauss(v: Numbers, gap: Numbers, lead_v: Numbers, p: Numbers, dt: float) -> Numbers:
    a, b, tau, s0, v0 = np.moveaxis(p, -1, 0)
    safe = -b * tau + np.sqrt((b * tau) ** 2 + lead_v**2 + 2 * b * np.maximum(gap - s0, 0))
    return (np.minimum(np.minimum(v + a * dt, safe), v0) - v) / dt


def _krauss_max_dt(p: Numbers) -> Numbers:
    return p[..., 2]


IDM = Law(
    name="idm",
    parameters=("a", "b", "T", "s0", "v0"),
    units=("m/s^2", "m/s^2", "s", "m", "m/s"),
    header=_SOURCE / "idm.h",
    acceleration=_idm,
    max_dt=_idm_max_dt,
    zero_allowed=("s0",),
    defines={"IDM_CLIP_SUM": 0},
)
"""The Intelligent Driver Model as SUMO has it: maximal acceleration a, comfortable deceleration b, time headway T,
standstill gap s0, desired speed v0, exponent 4. The desired gap is ``s0 + max(0, v T + v dv / (2 sqrt(a b)))``."""

IDM_CLIP_SUM = Law(
    name="idm_clip_sum",
    parameters=IDM.parameters,
    units=IDM.units,
    header=IDM.header,
    acceleration=_idm_clip_sum,
    max_dt=_idm_max_dt,
    zero_allowed=IDM.zero_allowed,
    defines={"IDM_CLIP_SUM": 1},
)
"""The same with the desired gap ``max(0, s0 + v T + v dv / (2 sqrt(a b)))``, as the GI-PPO paper's code has it."""

OVM = Law(
    name="ovm",
    parameters=("kappa", "v0", "l", "beta", "lambda"),
    units=("1/s", "m/s", "m", "", "1/s"),
    header=_SOURCE / "ovm.h",
    acceleration=_ovm,
    max_dt=_ovm_max_dt,
    zero_allowed=("beta", "lambda"),
)
"""The optimal velocity model with full velocity difference: sensitivity kappa, desired speed v0, length l and shape
beta of the optimal velocity, sensitivity lambda to the difference of speeds."""

KRAUSS = Law(
    name="krauss",
    parameters=("a", "b", "tau", "s0", "v0"),
    units=IDM.units,
    header=_SOURCE / "krauss.h",
    acceleration=_krauss,
    max_dt=_krauss_max_dt,
    zero_allowed=("s0",),
)
"""The highest safe speed, after Krauss and without his noise: acceleration a, deceleration b, reaction time tau,
standstill gap s0, desired speed v0."""

LAWS = {law.name: law for law in (IDM, IDM_CLIP_SUM, OVM, KRAUSS)}
"""Laws by name."""
