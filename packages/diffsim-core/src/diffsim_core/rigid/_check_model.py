"""Whether a ``RigidModel`` is one: what the loader makes is, what is written or changed by hand may not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from diffsim_core.rigid.contact_laws import CONTACT_LAWS
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import LIMIT_LAWS, RigidModel

_OF_LINKS = (
    "joint_type", "joint_q", "joint_dof", "link_mass", "joint_stiffness", "joint_limited", "limit_stiffness",
    "limit_damping",
)  # fmt: skip
_NOT_NEGATIVE = (
    "link_mass", "joint_stiffness", "limit_stiffness", "limit_damping", "dof_damping", "dof_armature", "contact_radius",
    "contact_kn", "contact_kd", "contact_kt", "contact_mu",
)  # fmt: skip


def check_model(model: RigidModel) -> None:
    """Raise unless the model can be simulated.

    Raises:
        ValueError: listing every field that has a wrong shape, a number that is not finite, or an impossible value.
    """
    problems = list(_shapes(model)) or [*_types(model)] or [*_values(model), *_masses(model)]
    if problems:
        lines = problems[0] if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
        raise ValueError(f"model {model.name!r}: {lines}")


def _shapes(model: RigidModel) -> Iterator[str]:
    nl, nv, nu, nc, ns = model.nl, model.nv, model.nu, model.nc, model.ns
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(_OF_LINKS, (nl,))
    expected |= {"link_pos": (nl, 3), "link_quat": (nl, 4), "joint_axis": (nl, 3), "link_com": (nl, 3)}
    expected |= {"joint_parameters": (nl, np.shape(model.joint_parameters)[-1])}
    expected |= {"link_inertia": (nl, 3, 3), "joint_range": (nl, 2), "q_spring": (model.nq,), "dof_damping": (nv,)}
    expected |= {"actuator_gear": (nu,), "actuator_range": (nu, 2), "contact_pos": (nc, 3), "gravity": (3,)}
    expected |= {f"contact_{name}": (nc,) for name in ("radius", "kn", "kd", "kt", "mu")}
    expected |= {"servo_actuator": (ns,), "servo_gain": (ns,), "servo_bias": (ns, 3), "servo_range": (ns, 2)}
    for name, shape in expected.items():
        found = np.shape(getattr(model, name))
        if found != shape:
            yield f"{name} has shape {found}, expected {shape}"
    for name, low, bound in (
        ("actuator_dof", 0, nv),
        ("servo_dof", 0, nv),
        ("servo_actuator", 0, nu),
        ("contact_link", 0, nl),
    ):
        values = np.asarray(getattr(model, name))
        if values.size and (values.min() < low or values.max() >= bound):
            yield f"{name} has {values.min()} to {values.max()}; give indices from {low} to {bound - 1}"
    for i, parent in enumerate(model.link_parent):
        if not -1 <= parent < i:
            yield f"link_parent[{i}] is {parent}: links are numbered parents first, -1 is the world"


def _types(model: RigidModel) -> Iterator[str]:
    """Every joint and law that is named must have an entry, and every joint the parameters of its type."""
    types = list(JOINTS)
    for name, kind, found in zip(model.joint_name, model.joint_type.tolist(), model.joint_parameters, strict=True):
        if not 0 <= kind < len(types):
            known = ", ".join(f"{i} {known}" for i, known in enumerate(types))
            yield f"joint_type: joint {name!r} has the unknown type {kind}; register_joint it, or use {known}"
        elif len(found) < len(wanted := JOINTS.at(kind).parameters):
            needed = ", ".join(wanted)
            yield f"joint_parameters: joint {name!r} of type {types[kind]!r} needs {needed}; got {len(found)}"
    for field, law, laws in (
        ("contact_law", model.contact_law, CONTACT_LAWS),
        ("limit_law", model.limit_law, LIMIT_LAWS),
    ):
        if law not in laws:
            yield f"{field}={law!r} is not known; use one of {', '.join(laws)}"


def _values(model: RigidModel) -> Iterator[str]:
    for field in fields(model):
        values = getattr(model, field.name)
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            yield f"{field.name} is not finite: {values[bad][0]} at {np.argwhere(bad)[0]}"
    for name in _NOT_NEGATIVE:
        values = np.asarray(getattr(model, name))
        if (values < 0).any():
            yield f"{name}[{int(np.argmax(values < 0))}] is {values[values < 0][0]:g}: give a number of at least 0"
    if (np.linalg.norm(model.link_quat, axis=1) == 0).any():
        yield "link_quat has a quaternion of length zero"


def _masses(model: RigidModel) -> Iterator[str]:
    """Every joint must move something, and what has mass must have an inertia that some body can have."""
    if not np.isfinite(model.link_inertia).all() or not np.isfinite(model.link_mass).all():
        return
    carried = np.array(model.link_mass, dtype=np.float64)
    for i in reversed(range(model.nl)):
        if model.link_parent[i] >= 0:
            carried[model.link_parent[i]] += carried[i]
    for i, name in enumerate(model.joint_name):
        d = int(model.joint_dof[i])
        armature = model.dof_armature[d : d + JOINTS.at(int(model.joint_type[i])).nv]
        if carried[i] <= 0 and not (armature > 0).all():
            yield f"link_mass: joint {name!r} moves nothing that has mass; give its links mass, or the joint armature"
        moments = np.linalg.eigvalsh(0.5 * (model.link_inertia[i] + model.link_inertia[i].T))
        if moments[0] < -1e-9 * abs(moments[2]):
            yield f"link_inertia[{i}] (joint {name!r}) has the principal moment {moments[0]:g}: none may be negative"
