"""Contact laws by name: normal force and friction. One header in C++ and one entry here, with the twin's function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.entries import Registry
from diffsim_core.rigid._headers import SOURCE


class Gains(NamedTuple):
    """Constants of one contact, in units that its law gives them."""

    kn: float
    kd: float
    kt: float
    """Of sticking friction [N s/m]."""
    mu: float


@dataclass(frozen=True, kw_only=True)
class ContactLaw:
    """A law of contact.

    To add one: a header that defines its struct as ``_source/law.h`` says, an entry with the same for NumPy, and
    ``register_contact_law``. Friction sticks and slides alike in all of them, within the bound that the law gives.
    """

    name: str
    """The struct has the name in CamelCase: ``hunt_crossley`` is ``ds::HuntCrossley``."""
    header: Path
    """The C++ of the law, anywhere."""
    normal: Callable[[Gains, float, float], tuple[float, float]]
    """``(gains, depth, u) -> (force, bound)``: normal force and bound of friction [N]. ``depth`` is the negative signed
    distance, or its smoothed form [m]; ``u`` the normal velocity, positive where the two separate [m/s]."""
    units: tuple[str, str, str]
    """Of kn, kd and mu."""


def _paper(gains: Gains, depth: float, u: float) -> tuple[float, float]:
    force = (-gains.kn + gains.kd * u) * depth
    return force, gains.mu * abs(force)


def _released(gains: Gains, depth: float, u: float) -> tuple[float, float]:
    return -gains.kn * depth - gains.kd * depth * np.maximum(-u, 0), gains.mu * gains.kn * -depth


_HEADERS, _UNITS = SOURCE / "laws", ("N/m", "N s/m^2", "")

PAPER = ContactLaw(name="paper", header=_HEADERS / "paper.h", normal=_paper, units=_UNITS)
"""Eq. 3 of the SHAC paper (Xu et al. 2022) as printed."""

RELEASED = ContactLaw(name="released", header=_HEADERS / "released.h", normal=_released, units=_UNITS)
"""That of the paper's released code: damping acts only while approaching, and the bound of friction leaves it out."""

CONTACT_LAWS: Registry[ContactLaw] = Registry("contact law", (PAPER, RELEASED))
"""By name, as ``RigidModel.contact_law`` has it."""


def register_contact_law(law: ContactLaw) -> None:
    """Make a contact law known in this process, by the name that ``RigidModel.contact_law`` and files give.

    Raises:
        ValueError: if the name is taken, or the header does not exist.
    """
    CONTACT_LAWS.register(law)


def normal_forces(law: str, gains: Any, depth: Any, u: Any) -> Any:
    """Normal forces [N] of many contacts: ``gains [n, 4]``, ``depth`` and ``u`` ``[n]``."""
    normal = CONTACT_LAWS[law].normal
    try:
        return normal(Gains(*gains.T), depth, u)[0]
    except ValueError:  # a law that decides by the truth of a number takes one at a time
        rows = zip(gains.tolist(), depth.tolist(), u.tolist(), strict=True)
        return np.array([normal(Gains(*row), d, v)[0] for row, d, v in rows])


def compiled_laws(name: str) -> tuple[ContactLaw, ...]:
    """The laws that a model's module is compiled with, in the order of their numbers there."""
    law = CONTACT_LAWS[name]
    return CONTACT_LAWS.built_in if law in CONTACT_LAWS.built_in else (*CONTACT_LAWS.built_in, law)
