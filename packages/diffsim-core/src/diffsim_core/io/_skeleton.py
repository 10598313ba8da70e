"""A skeleton with muscles, as its files or tables describe it, and the MJCF it becomes.

Everything is given in the rest pose, in one world frame: x forward, y to the left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np

from diffsim_core.io.errors import ModelError
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import FloatArray

JOINTS = {"free": "free", "ball": "ball", "hinge": "hinge", "slide": "slide", "weld": ""}


@dataclass(frozen=True, kw_only=True)
class Bone:
    """A body, its shape and the joint that carries it."""

    name: str
    parent: str | None
    mass: float
    """[kg]"""
    shape: str
    """``box``, ``sphere`` or ``capsule``."""
    size: tuple[float, ...]
    """Half extents, or radius, or radius and half length [m]."""
    pos: FloatArray
    """Centre of the shape [m]."""
    quat: FloatArray
    """Attitude of the shape, wxyz."""
    joint: str
    """One of ``JOINTS``."""
    anchor: FloatArray
    """Where the joint is [m]."""
    axis: FloatArray | None = None
    """Of a hinge or slide."""
    range: tuple[float, float] | None = None
    """Of a hinge or slide [rad] or [m]."""
    stiffness: float = 0.0
    damping: float = 0.0
    armature: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Strand:
    """A muscle that pulls with a constant force times its control."""

    name: str
    force: float
    """At control one [N]."""
    points: tuple[tuple[str, FloatArray], ...]
    """``(bone, position)`` along the path [m]."""


def check_skeleton(label: str, bones: Sequence[Bone], strands: Sequence[Strand]) -> None:
    """Refuse what cannot be a skeleton.

    Raises:
        ModelError: duplicate names, unknown or later parents, several roots, masses that are not positive, shapes
            without size, muscles with fewer than two points or on missing bones, values that are not finite.
    """
    problems: list[str] = []
    seen: set[str] = set()
    for bone in bones:
        what = f'body "{bone.name}"'
        if bone.name in seen:
            problems.append(f"{what} is there twice: give each a name of its own")
        if bone.parent is None and seen:
            problems.append(f"{what} has no parent, and is not the first: connect it, one tree is simulated")
        if bone.parent is not None and bone.parent not in seen:
            problems.append(f'{what} has the parent "{bone.parent}", which no body before it is called')
        if bone.joint not in JOINTS:
            problems.append(f'{what} has a joint of type "{bone.joint}": use {", ".join(JOINTS)}')
        if not (np.isfinite(bone.mass) and bone.mass > 0):
            problems.append(f"{what} has the mass {bone.mass:g}: give a positive number of kilograms")
        if not all(np.isfinite(s) and s > 0 for s in bone.size):
            problems.append(f"{what} has the size {_numbers(bone.size)}: give positive numbers of metres")
        if bone.joint in ("hinge", "slide") and (bone.axis is None or not np.any(bone.axis)):
            problems.append(f"the joint of {what} needs an axis")
        others = (bone.stiffness, bone.damping, bone.armature)
        if not all(np.isfinite(x) and x >= 0 for x in others):
            problems.append(f"the joint of {what} has stiffness, damping, armature {_numbers(others)}: give at least 0")
        finite = [bone.pos, bone.quat, bone.anchor, bone.axis or 0.0 if bone.axis is None else bone.axis]
        if not all(np.isfinite(x).all() for x in finite) or not np.isfinite(bone.range or 0.0).all():
            problems.append(f"{what} has a value that is not finite: correct it")
        seen.add(bone.name)
    names: set[str] = set()
    for strand in strands:
        what = f'muscle "{strand.name}"'
        if strand.name in names:
            problems.append(f"{what} is there twice: give each a name of its own")
        names.add(strand.name)
        if len(strand.points) < 2:
            problems.append(f"{what} has {len(strand.points)} point: a path needs two at least")
        if not (np.isfinite(strand.force) and strand.force > 0):
            problems.append(f"{what} has the force {strand.force:g}: give a positive number of newtons")
        for bone, pos in strand.points:
            if bone not in seen:
                problems.append(f'{what} has a point on "{bone}", which no body is called')
            if not np.isfinite(pos).all():
                problems.append(f"{what} has a point at {_numbers(pos)}: give finite metres")
    if not bones:
        problems.append("there is no body in it")
    if problems:
        raise ModelError(label, list(dict.fromkeys(problems)))


def to_mjcf(
    name: str,
    bones: Sequence[Bone],
    strands: Sequence[Strand],
    *,
    numerics: dict[str, Sequence[float]],
    texts: dict[str, str],
) -> str:
    """MJCF of a checked skeleton on level ground, every shape touching it; one motor per muscle, controls in [0, 1].

    Args:
        name: Name of the model.
        bones: Parents first.
        strands: The muscles.
        numerics: Entries of ``<custom>``, as :func:`load_model` reads them.
        texts: The same.
    """
    root = ET.Element("mujoco", model=name)
    ET.SubElement(root, "compiler", angle="radian", autolimits="false")
    ET.SubElement(root, "option", gravity="0 0 -9.81")
    custom = ET.SubElement(root, "custom")
    for key, values in numerics.items():
        ET.SubElement(custom, "numeric", name=key, data=_numbers(values))
    for key, text in texts.items():
        ET.SubElement(custom, "text", name=key, data=text)
    world = ET.SubElement(root, "worldbody")
    ET.SubElement(world, "geom", name="ground", type="plane", size="50 50 1", contype="0", conaffinity="1")
    made: dict[str, tuple[ET.Element, FloatArray]] = {}
    for bone in bones:
        parent, origin = made[bone.parent] if bone.parent is not None else (world, np.zeros(3))
        body = ET.SubElement(parent, "body", name=bone.name, pos=_numbers(bone.anchor - origin))
        if kind := JOINTS[bone.joint]:
            _add_joint(body, bone, kind)
        shape = {"type": bone.shape, "size": _numbers(bone.size), "pos": _numbers(bone.pos - bone.anchor)}
        mass = {"quat": _numbers(bone.quat), "mass": _number(bone.mass), "contype": "1", "conaffinity": "0"}
        ET.SubElement(body, "geom", {"name": bone.name, **shape, **mass})
        made[bone.name] = body, bone.anchor
    tendons, actuators = ET.SubElement(root, "tendon"), ET.SubElement(root, "actuator")
    for strand in strands:
        path = ET.SubElement(tendons, "spatial", name=strand.name)
        for i, (bone, pos) in enumerate(strand.points):
            body, origin = made[bone]
            site = f"{strand.name}.{i}"
            ET.SubElement(body, "site", name=site, pos=_numbers(pos - origin))
            ET.SubElement(path, "site", site=site)
        pull = {"gear": _number(-strand.force), "ctrllimited": "true", "ctrlrange": "0 1"}
        ET.SubElement(actuators, "motor", {"name": strand.name, "tendon": strand.name, **pull})
    return ET.tostring(root, encoding="unicode")


def released_inertia(bone: Bone) -> FloatArray:
    """A box's inertia about its centre as the SHAC paper's released code turns it: ``R_kk^2 I_kk`` (see ant.xml)."""
    a, b, c = (2 * half for half in bone.size)
    own = bone.mass / 12 * np.array([b * b + c * c, a * a + c * c, a * a + b * b])
    return np.diag(rotation(bone.quat)) ** 2 * own


def quat_of(matrix: FloatArray) -> FloatArray:
    """Unit quaternion wxyz of a rotation ``[3, 3]``, or of a matrix near to one (Shepperd 1978)."""
    m = np.asarray(matrix, dtype=np.float64)
    diagonal = np.array([m.trace(), *np.diag(m)])
    k = int(np.argmax(diagonal))
    i, j, n = (k - 1) % 3, k % 3, (k + 1) % 3
    if k == 0:
        quat = np.array([1 + m.trace(), m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    else:
        quat = np.zeros(4)
        quat[0] = m[n, j] - m[j, n]
        quat[1 + i] = 1 + m[i, i] - m[j, j] - m[n, n]
        quat[1 + j] = m[j, i] + m[i, j]
        quat[1 + n] = m[n, i] + m[i, n]
    return quat / np.linalg.norm(quat)


def _add_joint(body: ET.Element, bone: Bone, kind: str) -> None:
    if kind == "free":
        ET.SubElement(body, "freejoint", name=bone.name)
        return
    values = {"damping": bone.damping, "armature": bone.armature, "stiffness": bone.stiffness}
    attributes = {key: _number(value) for key, value in values.items()}
    if bone.axis is not None and kind != "ball":
        attributes["axis"] = _numbers(bone.axis)
        if bone.range is not None:
            attributes |= {"limited": "true", "range": _numbers(bone.range)}
    ET.SubElement(body, "joint", {"name": bone.name, "type": kind, **attributes})


def _number(value: float) -> str:
    return repr(float(value))


def _numbers(values: Sequence[float] | FloatArray) -> str:
    return " ".join(_number(value) for value in values)
