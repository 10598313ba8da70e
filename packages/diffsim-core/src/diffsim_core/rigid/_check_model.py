"""Whether a ``RigidModel`` is one: what the loader makes is, what is written or changed by hand may not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from diffsim_core.rigid import _check_couplings, _check_parts, _check_units
from diffsim_core.rigid.contact_laws import CONTACT_LAWS
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import LIMIT_LAWS, RigidModel

_OF_LINKS = (
    "joint_type", "joint_q", "joint_dof", "link_mass", "joint_stiffness", "joint_limited", "limit_stiffness",
    "limit_damping",
)  # fmt: skip
_NOT_NEGATIVE = (
    "link_mass", "joint_stiffness", "limit_stiffness", "limit_damping", "dof_damping", "dof_armature", "contact_radius",
    "contact_kn", "contact_kd", "contact_kt", "contact_mu", "contact_smoothing", "dof_friction",
)  # fmt: skip


def check_model(model: RigidModel) -> None:
    """Raise unless the model can be simulated.

    Raises:
        ValueError: listing every field that has a wrong shape, a number that is not finite, or an impossible value.
    """
    problems = [*_check_couplings.shapes(model)] or list(_shapes(model)) or [*_types(model)] or [*_layout(model)]
    problems = problems or [*_check_couplings.laws(model), *_values(model), *_masses(model)]
    problems += [*_check_parts.points(model), *_check_parts.pairs(model), *_check_units.units(model)]
    problems += _check_parts.fluid(model)
    problems += _check_parts.loops(model)
    if problems:
        lines = problems[0] if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
        raise ValueError(f"model {model.name!r}: {lines}")


def _shapes(model: RigidModel) -> Iterator[str]:
    nl, nu, nc, ns = model.nl, model.nu, model.nc, model.ns
    nq, nv = model.nq + len(model.couplings), model.nv + len(model.couplings)
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(_OF_LINKS, (nl,))
    expected |= {"link_pos": (nl, 3), "link_quat": (nl, 4), "joint_axis": (nl, 3), "link_com": (nl, 3)}
    expected |= {"link_gravcomp": (nl,), "link_gravcomp_offset": (nl, 3)}
    expected |= {"joint_parameters": (nl, np.shape(model.joint_parameters)[-1])}
    expected |= {
        "link_inertia": (nl, 3, 3),
        "joint_range": (nl, 2),
        "q_spring": (nq,),
        "dof_damping": (nv,),
        "dof_friction": (nv,),
    }
    expected |= {"actuator_gear": (nu,), "actuator_range": (nu, 2), "contact_pos": (nc, 3), "gravity": (3,)}
    expected |= {f"contact_{name}": (nc,) for name in ("radius", "kn", "kd", "kt", "mu")}
    expected |= {"servo_actuator": (ns,), "servo_gain": (ns,), "servo_bias": (ns, 3), "servo_range": (ns, 2)}
    if len(model.servo_total_range):
        expected["servo_total_range"] = (ns, 2)
    yield from _check_parts.wrong_shapes(model, expected)
    for name, count in (("joint_name", nl), ("actuator_name", nu), ("contact_geom", nc)):
        if len(getattr(model, name)) != count:
            yield f"{name} has {len(getattr(model, name))} entries, expected {count}"
    for name, low, bound in (
        ("link_parent", -1, nl),
        ("joint_q", 0, nq),
        ("joint_dof", 0, nv),
        ("joint_limited", 0, 2),
        ("actuator_dof", 0, nv),
        ("servo_dof", 0, nv),
        ("servo_actuator", 0, nu),
        ("contact_link", 0, nl),
    ):
        yield from _check_parts.wrong_indices(name, getattr(model, name), low, bound)
    for what in ("bodies", "geoms", "sites"):
        links = np.array([part.link for part in getattr(model, what)], dtype=np.int64)
        yield from _check_parts.wrong_indices(f"link of {what}", links, -1, nl)
    for i, parent in enumerate(model.link_parent):
        if not -1 <= parent < i:
            yield f"link_parent[{i}] is {parent}: links are numbered parents first, -1 is the world"


def _types(model: RigidModel) -> Iterator[str]:
    """Every joint and law that is named must have an entry, and every joint the parameters of its type."""
    types = list(JOINTS)
    if model.joint_type.dtype.kind not in "iu":
        yield f"joint_type has dtype {model.joint_type.dtype}; give whole numbers"
        return
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


def _layout(model: RigidModel) -> Iterator[str]:
    """Every joint has its own coordinates and degrees of freedom, and all of them belong to one."""
    joints = [JOINTS.at(int(kind)) for kind in model.joint_type]
    for name, first, counts, total in (
        ("joint_q", model.joint_q, [joint.nq for joint in joints], model.nq + len(model.couplings)),
        ("joint_dof", model.joint_dof, [joint.nv for joint in joints], model.nv + len(model.couplings)),
    ):
        taken = [start + k for start, count in zip(first.tolist(), counts, strict=True) for k in range(count)]
        if sorted(taken) != list(range(total)):
            yield f"{name} is {first.tolist()}: joints of {counts} numbers must fill {total} places, each once"


def _values(model: RigidModel) -> Iterator[str]:
    yield from _check_parts.not_finite(model, [field.name for field in fields(model)])
    yield from _check_parts.negative(model, _NOT_NEGATIVE)
    yield from _check_parts.reversed_ranges("actuator_range", model.actuator_range)
    yield from _check_parts.reversed_ranges("servo_range", model.servo_range)
    yield from _check_parts.reversed_ranges("servo_total_range", model.servo_total_range)
    if not model.friction_width > 0:
        yield f"friction_width is {model.friction_width}: give a positive speed"
    for i in np.flatnonzero((model.joint_range[:, 0] > model.joint_range[:, 1]) & (model.joint_limited == 1))[:1]:
        yield f"joint_range[{i}] is {model.joint_range[i].tolist()}: give the lower bound first"
    for i, (name, kind, axis) in enumerate(zip(model.joint_name, model.joint_type, model.joint_axis, strict=True)):
        length = float(np.linalg.norm(axis))
        if abs(length - 1) > 1e-6 and not (length == 0 and JOINTS.at(int(kind)).name not in ("slide", "hinge")):
            yield f"joint_axis[{i}] (joint {name!r}) has length {length:g}: give a vector of length 1"
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
    coupled = {*model.couplings.link.tolist(), *model.couplings.leader.tolist()}
    for i, name in enumerate(model.joint_name):
        d = int(model.joint_dof[i])
        armature = model.dof_armature[d : d + JOINTS.at(int(model.joint_type[i])).nv]
        if carried[i] <= 0 and not (armature > 0).all() and i not in coupled:
            yield f"link_mass: joint {name!r} moves nothing that has mass; give its links mass, or the joint armature"
        moments = np.linalg.eigvalsh(0.5 * (model.link_inertia[i] + model.link_inertia[i].T))
        if moments[0] < -1e-9 * abs(moments[2]):
            yield f"link_inertia[{i}] (joint {name!r}) has the principal moment {moments[0]:g}: none may be negative"
