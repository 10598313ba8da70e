"""What a compiled model has switched off: such elements change nothing."""

from __future__ import annotations

from typing import Any

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import actuator_name, object_name

_OF_CONSTRAINTS = ("contact", "equality", "frictionloss", "limit")
"""Flags whose elements ``constraint`` switches off too."""


def switched_off(m: Any, flag: str) -> bool:
    """Whether ``<flag>`` disables something, by the attribute's name: ``contact``, ``frictionloss``, ``spring``, ..."""
    names = (flag, "constraint") if flag in _OF_CONSTRAINTS else (flag,)
    return any(int(m.opt.disableflags) & int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{n.upper()}")) for n in names)


def active_equalities(m: Any) -> list[int]:
    """Indices of the equality constraints that act."""
    return [] if switched_off(m, "equality") else [i for i in range(m.neq) if m.eq_active0[i]]


def actuator_is_off(m: Any, a: int) -> bool:
    """Whether an actuator exerts no force, because a flag or its group is switched off."""
    group = int(m.actuator_group[a])
    return switched_off(m, "actuation") or (0 <= group <= 30 and bool(int(m.opt.disableactuator) >> group & 1))


def inert(m: Any) -> list[str]:
    """A sentence for each equality and actuator that is switched off."""
    acting = active_equalities(m)
    names = [f'equality "{object_name(m, "equality", i) or i}"' for i in range(m.neq) if i not in acting]
    names += [f'actuator "{actuator_name(m, a)}"' for a in range(len(m.actuator_trntype)) if actuator_is_off(m, a)]
    return [f"{name} is switched off in the file" for name in names]
