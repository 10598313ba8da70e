"""``load_snu``: skeletons and muscles in the XML formats of MASS (Lee et al. 2019), as the SHAC paper uses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

import numpy as np

from diffsim_core.io._load import load_model
from diffsim_core.io._scan import MAX_BYTES, MAX_ELEMENTS, read_bytes
from diffsim_core.io._skeleton import Bone, Strand, check_skeleton, quat_of, released_inertia, to_mjcf
from diffsim_core.io.errors import ModelError
from diffsim_core.rigid.model import FloatArray, RigidModel

_TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""From the files' axes (x to the left, y up, z forward) to ours (x forward, y to the left, z up)."""
_TYPES = {"free": "free", "ball": "ball", "revolute": "hinge", "prismatic": "slide", "weld": "weld"}
_UNIT_MASS = 15.0
"""Mass [kg] at which the released code's joint springs and limits have their nominal gains."""


def load_snu(
    skeleton: str | Path,
    muscles: str | Path,
    *,
    keep: Iterable[str] | None = None,
    strength: float = 1.0,
    contact_law: str | None = None,
    limit_law: str | None = None,
    inertia_law: str | None = None,
) -> RigidModel:
    """Load a skeleton and its muscles from files in MASS's formats (``human.xml``, ``muscle284.xml``).

    A ``<Skeleton>`` lists ``<Node name parent>`` with a ``<Body type mass size>`` and a
    ``<Joint type axis lower upper>``, each with a ``<Transformation linear translation>`` in the world's rest pose
    (y up, z forward, metres). A ``<Muscle>`` lists ``<Unit name f0>`` with ``<Waypoint body p>`` in the same pose.

    The muscles pull with a constant force ``strength f0`` times a control in [0, 1], as in the SHAC paper's code, which
    reads neither lengths nor pennation; each is a control, in the file's order. Joint springs, dampers, limits,
    armature and contact are that code's; ball joints have no limits there, and none here.

    Args:
        skeleton: path of the skeleton's file.
        muscles: path of the muscles' file.
        keep: nodes to build, parents before children in the file; all by default. Muscles with a point on
            another node are left out.
        strength: factor on every ``f0``.
        contact_law: ``"released"`` (the default here) or ``"paper"``, see ``RigidModel.contact_law``.
        limit_law: the same, see ``RigidModel.limit_law``.
        inertia_law: ``"released"`` (the default here) or ``"paper"``, see :func:`load_model`.

    Raises:
        ModelError: a file cannot be read, is not of its format, or describes no skeleton; every problem is named.
        ValueError: ``strength`` is not positive, or ``keep`` names a node that is not in the file.
    """
    if not (np.isfinite(strength) and strength > 0):
        raise ValueError(f"strength is {strength}: give a positive number")
    bones = read_skeleton(Path(skeleton))
    if keep is not None:
        wanted = set(keep)
        if missing := sorted(wanted - {bone.name for bone in bones}):
            raise ValueError(f"keep names {', '.join(missing)}, which {skeleton} does not have")
        bones = [bone for bone in bones if bone.name in wanted]
    kept = {bone.name for bone in bones}
    strands = read_muscles(Path(muscles), strength)
    used = [s for s in strands if keep is None or kept.issuperset(bone for bone, _ in s.points)]
    check_skeleton(f"{skeleton}, {muscles}", bones, used)
    return build_model(
        "snu",
        bones,
        used,
        laws={"contact_law": contact_law, "limit_law": limit_law, "inertia_law": inertia_law},
        note=f"{len(strands) - len(used)} muscles with points on bodies that are not kept",
    )


def build_model(
    name: str, bones: Sequence[Bone], strands: Sequence[Strand], *, laws: dict[str, Any], note: str = ""
) -> RigidModel:
    """A checked skeleton with the released code's contact and limits, whose gains grow with a body's mass."""
    numerics: dict[str, Sequence[float]] = {"diffsim_contact": (5e3, 2e3, 1e3, 0.5), "diffsim_limit": (1e3, 10.0)}
    for bone in bones:
        if bone.shape == "box":
            numerics[f"diffsim_inertia:{bone.name}"] = (*released_inertia(bone), 0.0, 0.0, 0.0)
    texts = {f"diffsim_{law}": "released" for law in ("contact_law", "limit_law", "inertia_law")}
    model = load_model(to_mjcf(name, bones, strands, numerics=numerics, texts=texts), name=name, **laws)
    ratio = (
        np.array([next(bone.mass for bone in bones if bone.name == joint) for joint in model.joint_name]) / _UNIT_MASS
    )
    return replace(
        model,
        limit_stiffness=model.limit_stiffness * ratio,
        limit_damping=model.limit_damping * ratio,
        notes=(*model.notes, note) if note and not note.startswith("0 ") else model.notes,
    )


def read_skeleton(path: Path) -> list[Bone]:
    """The bones of a ``<Skeleton>``, in the file's order.

    Raises:
        ModelError: naming every problem.
    """
    problems: list[str] = []
    bones = []
    for node in _parse(path, "Skeleton"):
        name = node.get("name") or ""
        body, joint = node.find("Body"), node.find("Joint")
        if node.tag != "Node" or not name:
            problems.append(f"<{node.tag}> is not a <Node> with a name")
        elif body is None or joint is None:
            problems.append(f'node "{name}" needs a <Body> and a <Joint>')
        else:
            try:
                bones.append(_bone(name, node.get("parent"), body, joint))
            except ValueError as error:
                problems.append(f'node "{name}": {error}')
    if problems:
        raise ModelError(str(path), problems)
    return bones


def read_muscles(path: Path, strength: float) -> list[Strand]:
    """The units of a ``<Muscle>``, in the file's order, with forces times ``strength``.

    Raises:
        ModelError: naming every problem.
    """
    problems: list[str] = []
    strands = []
    for unit in _parse(path, "Muscle"):
        name = unit.get("name") or ""
        if unit.tag != "Unit" or not name:
            problems.append(f"<{unit.tag}> is not a <Unit> with a name")
            continue
        try:
            force = _floats(unit, "f0", 1)[0]
            points = tuple((p.get("body") or "", _TURN @ _floats(p, "p", 3)) for p in unit.iter("Waypoint"))
            strands.append(Strand(name=name, force=strength * force, points=points))
        except ValueError as error:
            problems.append(f'muscle "{name}": {error}')
    if problems:
        raise ModelError(str(path), problems)
    return strands


def _bone(name: str, parent: str | None, body: ET.Element, joint: ET.Element) -> Bone:
    shape, kind = (body.get("type") or "").lower(), (joint.get("type") or "").lower()
    if kind not in _TYPES:
        raise ValueError(f'a joint of type "{joint.get("type")}" is not simulated: use {", ".join(_TYPES)}')
    turn, pos = _transformation(body)
    joint_turn, anchor = _transformation(joint)
    mass = _floats(body, "mass", 1)[0]
    axis = limits = None
    if kind in ("revolute", "prismatic"):
        axis = _TURN @ joint_turn @ _floats(joint, "axis", 3)
        if joint.get("lower") is not None and joint.get("upper") is not None:
            limits = (_floats(joint, "lower", 1)[0], _floats(joint, "upper", 1)[0])
    return Bone(
        name=name,
        parent=None if parent in (None, "None") else parent,
        mass=mass,
        shape=shape,
        size=_size(shape, body),
        pos=_TURN @ pos,
        quat=quat_of(_TURN @ turn @ _TURN.T),
        joint=_TYPES[kind],
        anchor=_TURN @ anchor,
        axis=axis,
        range=limits,
        **joint_gains(mass, kind),
    )


def joint_gains(mass: float, kind: str) -> dict[str, float]:
    """Spring, damper and armature that the released code gives the joint of a body of this mass [kg]."""
    # a ball joint's spring there pulls with the quaternion's vector part: half the rotation vector, where small
    spring = 5.0 * float(np.sqrt(max(mass, 0.0) / _UNIT_MASS)) * (0.5 if kind == "ball" else 1.0)
    return {"stiffness": spring, "damping": 2.0, "armature": 0.05}


def _size(shape: str, body: ET.Element) -> tuple[float, ...]:
    if shape == "box":
        return tuple(float(x) / 2 for x in _TURN @ _floats(body, "size", 3))
    if shape == "sphere":
        return (_floats(body, "radius", 1)[0],)
    if shape == "capsule":
        return _floats(body, "radius", 1)[0], _floats(body, "height", 1)[0] / 2
    raise ValueError(f'a body of type "{body.get("type")}" is not simulated: use Box, Sphere or Capsule')


def _transformation(element: ET.Element) -> tuple[FloatArray, FloatArray]:
    found = element.find("Transformation")
    if found is None:
        raise ValueError(f"<{element.tag}> needs a <Transformation>")
    return _floats(found, "linear", 9).reshape(3, 3), _floats(found, "translation", 3)


def _floats(element: ET.Element, name: str, count: int) -> FloatArray:
    text = element.get(name)
    words = (text or "").split()
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f'<{element.tag}> has {name}="{(text or "")[:60]}": give {count} finite numbers')
    return values


def _parse(path: Path, root: str) -> ET.Element:
    """The root element; no entities, of bounded size."""
    label = str(path)
    try:
        text = read_bytes(path, label)
    except OSError as error:
        raise ModelError(label, [f"cannot be read: {error.strerror}"]) from None
    if len(text) > MAX_BYTES:
        raise ModelError(label, [f"it has {len(text)} bytes: at most {MAX_BYTES} are read"])
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    elements = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if elements > MAX_ELEMENTS:
            raise ModelError(label, [f"it has over {MAX_ELEMENTS} elements: at most that many are read"])
        builder.start(tag, attributes)

    def entity(*_: object) -> None:
        raise ModelError(label, ["it declares an XML entity: write the text out"])

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ModelError(label, [f"it is not well-formed XML: {error}"]) from None
    except ValueError as error:
        raise error if isinstance(error, ModelError) else ModelError(label, [str(error)]) from None
    found = builder.close()
    if found.tag != root:
        raise ModelError(label, [f"its root element is <{found.tag}>: expected <{root}>"])
    return found
