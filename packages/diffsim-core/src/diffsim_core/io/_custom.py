"""The simulator's own parameters that a model file may carry under ``<custom>``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import object_name
from diffsim_core.io.params import ContactParams, LimitParams, LoopParams
from diffsim_core.rigid.model import FloatArray

PREFIX = "diffsim_"
INERTIA = "diffsim_inertia:"
_LAWS = ("diffsim_contact_law", "diffsim_limit_law", "diffsim_inertia_law")


@dataclass(frozen=True)
class Custom:
    """What the file says; empty where it says nothing."""

    contact: ContactParams
    limits: LimitParams
    loops: LoopParams
    contact_law: str | None
    limit_law: str | None
    inertia_law: str | None
    inertias: dict[int, FloatArray]
    """For each body index, inertia ``[3, 3]`` about the body's centre of mass in the body's axes."""


def read_custom(m: Any) -> tuple[Custom, list[str]]:
    """The ``diffsim_*`` entries of a compiled model, and a sentence for each that is malformed or unknown."""
    problems: list[str] = []
    contact: dict[str, float] = {}
    limits: dict[str, float] = {}
    loops = LoopParams()
    inertias: dict[int, FloatArray] = {}
    for i in range(m.nnumeric):
        name = object_name(m, "numeric", i)
        data = m.numeric_data[m.numeric_adr[i] : m.numeric_adr[i] + m.numeric_size[i]]
        if name == "diffsim_contact":
            contact = _gains(name, data, ("kn", "kd", "kt", "mu"), 3, problems)
        elif name == "diffsim_limit":
            limits = _gains(name, data, ("stiffness", "damping"), 1, problems)
        elif name == "diffsim_loop":
            found = _gains(name, data, ("stiffness", "damping", "torsion", "torsion_damping"), 1, problems)
            loops = LoopParams(**found, solref=False)
        elif name.startswith(INERTIA):
            _add_inertia(m, name, data, inertias, problems)
        elif name.startswith(PREFIX):
            known = f"diffsim_contact, diffsim_limit, diffsim_loop or {INERTIA}BODY"
            problems.append(f'numeric "{name}" is unknown: use {known}')
    texts = {name: value for name, value in _texts(m) if name.startswith(PREFIX)}
    problems += [f'text "{name}" is unknown: use {", ".join(_LAWS)}' for name in texts if name not in _LAWS]
    laws = [texts.get(name) for name in _LAWS]
    params = ContactParams(**contact), LimitParams(**limits), loops
    return Custom(*params, laws[0], laws[1], laws[2], inertias), problems


def _gains(name: str, data: FloatArray, keys: tuple[str, ...], least: int, problems: list[str]) -> dict[str, float]:
    if not least <= len(data) <= len(keys) or not np.all(np.isfinite(data)) or np.any(data < 0):
        problems.append(f'numeric "{name}" is "{_shown(data)}": give {" ".join(keys)}, finite and at least 0')
        return {}
    return dict(zip(keys, (float(x) for x in data), strict=False))


def _add_inertia(m: Any, name: str, data: FloatArray, inertias: dict[int, FloatArray], problems: list[str]) -> None:
    b = mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_BODY, name.removeprefix(INERTIA))
    if b < 1:
        problems.append(f'numeric "{name}": there is no body "{name.removeprefix(INERTIA)}"')
        return
    if len(data) == 6 and np.all(np.isfinite(data)):
        xx, yy, zz, xy, xz, yz = data
        inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        eigenvalues = np.linalg.eigvalsh(inertia)
        if eigenvalues[0] >= -1e-12 * eigenvalues[2] and eigenvalues[2] > 0:
            inertias[b] = inertia
            return
    problems.append(
        f'numeric "{name}" is "{_shown(data)}": give xx yy zz xy xz yz of a matrix that is not zero '
        "and has no negative eigenvalue"
    )


def _shown(data: FloatArray) -> str:
    return " ".join(f"{x:g}" for x in data[:8])


def _texts(m: Any) -> list[tuple[str, str]]:
    spans = [(object_name(m, "text", i), m.text_adr[i], m.text_size[i]) for i in range(m.ntext)]
    data = bytes(m.text_data)
    return [(name, data[start : start + size].rstrip(b"\0").decode("utf-8", "replace")) for name, start, size in spans]
