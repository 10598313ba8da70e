"""Running MuJoCo's parser and compiler on a file, a string or a spec."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from diffsim_core.io._files import check_files
from diffsim_core.io._mujoco import MjSpec, mujoco
from diffsim_core.io._scan import Scanned, is_inside, read_bytes, scan
from diffsim_core.io._spec import check_spec, copy_spec
from diffsim_core.io._unsupported import SINGULAR
from diffsim_core.io._urdf import prepared
from diffsim_core.io.errors import ModelError

SUFFIXES = (".xml", ".mjcf", ".urdf")
_NEXT_TO_NOTHING = 1e-12
"""Mass [kg] and inertia [kg m^2] of a root that has none of its own."""
_UNUSED = ("sensors", "keys", "skins", "textures", "cameras", "lights", "tuples")


def is_xml(source: str | Path | MjSpec) -> bool:
    """Whether ``source`` is the XML itself rather than a path."""
    return isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("<")


def is_spec(source: str | Path | MjSpec) -> bool:
    """Whether ``source`` is a model that was built in Python."""
    return isinstance(source, mujoco.MjSpec)


def source_label(source: Any) -> str:
    """How messages call the source, as ``is_xml`` and ``is_spec`` take it."""
    if is_spec(source):
        return f'MjSpec "{source.modelname}"'
    return "XML string" if is_xml(source) else str(source)


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """MuJoCo's settings for files whose masses or inertias no body can have; ``None`` leaves a file's own."""

    balanceinertia: bool | None = None
    boundmass: float | None = None
    boundinertia: float | None = None


class Compiled(NamedTuple):
    """What MuJoCo's compiler makes of a source."""

    model: Any
    """``MjModel``"""
    notes: list[str]
    """Sentences about what was left out, and the compiler's warnings."""
    floated: list[int]
    """Bodies that have a free joint from us, by MuJoCo's index."""


def compile_model(
    source: str | Path | MjSpec,
    *,
    floating: bool,
    root: str | Path | None = None,
    repairs: Repairs | None = None,
    keyframes: bool = False,
) -> Compiled:
    """A source as MuJoCo's compiler understands it, without what only renderers and sensors need.

    Raises:
        ModelError: with MuJoCo's words where MuJoCo refuses.
    """
    label = source_label(source)
    repairs = repairs or Repairs()
    scanned = _scan_source(source, label, root)
    folder = None if is_spec(source) or is_xml(source) else Path(source).parent
    limit = None if root is None else Path(root)
    spec = None
    try:
        with collected_warnings() as warned:
            if scanned is not None and scanned.kind == "robot":
                xml, assets, notes = prepared(scanned.text, label, folder, limit, repairs.boundinertia)
                spec = mujoco.MjSpec.from_string(xml, assets=assets)
                _prune(spec, keyframes)
                _add_motors(spec)
                _weigh(spec)
                check_files(spec, label, None, None)
            else:
                spec = _spec(source, label)
                _prune(spec, keyframes)
                checked = scanned is not None and not scanned.attached
                notes = check_files(spec, label, folder, limit) if checked else []
            floated = _float(spec) if floating else []
            _repair(spec, repairs)
            model = _compiled(spec)
            return Compiled(model, [*notes, *warned], [body.id for body in floated])
    except ModelError:
        raise
    except (ValueError, RuntimeError, MemoryError, mujoco.FatalError) as error:
        message = _with_remedy(_with_body(" ".join(str(error).split()), spec))
        raise ModelError(label, [f"MuJoCo cannot compile it: {message}"]) from None


_REMEDIES = {
    "QACC": f"Probably {SINGULAR}",  # some versions take a trial step with the model
    "mjMINVAL": "Give every body that moves mass and inertia, or load with boundmass=1e-3, boundinertia=1e-6.",
    "A + B >= C": "Correct the inertia, or load with balanceinertia=True.",
    "positive eigenvalues": "Correct the inertia, or, of a URDF, load with boundinertia=1e-6.",
}


def _with_body(message: str, spec: Any) -> str:
    """MuJoCo's words, with the body of a shape or joint that has no name."""
    found = re.search(r"\b(geom|joint) Element name '', id (\d+)", message)
    elements = getattr(spec, f"{found[1]}s", ()) if found else ()
    if found is None or int(found[2]) >= len(elements):
        return message
    return f'{message} (of body "{elements[int(found[2])].parent.name}")'


def _compiled(spec: Any) -> Any:
    """The model; meshes too flat to have a volume count as shells if it does not matter what they weigh."""
    try:
        return spec.compile()
    except ValueError as error:
        if "mesh volume is too small" not in str(error):
            raise
    weighed = {geom.meshname for geom in spec.geoms if not geom.parent.explicitinertial}
    for mesh in spec.meshes:
        if mesh.name not in weighed:
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    return spec.compile()


def _weigh(spec: Any) -> None:
    """Next to no mass for bodies of a URDF that move and have none, but carry something that has."""
    for body in spec.bodies:
        if body.joints:
            _give_mass(body)


def _give_mass(body: Any) -> None:
    if _has_mass(body) or not any(_has_mass(other) for other in body.find_all("body")):
        return
    if not body.explicitinertial:
        body.explicitinertial, body.inertia = True, [_NEXT_TO_NOTHING] * 3
    body.mass = _NEXT_TO_NOTHING


def _has_mass(body: Any) -> bool:
    """Whether a body has mass as written, or shapes to take it from."""
    return bool(body.mass > _NEXT_TO_NOTHING if body.explicitinertial else body.geoms)


def _with_remedy(message: str) -> str:
    """MuJoCo's words, and what to do in this library."""
    return " ".join([message, *(remedy for words, remedy in _REMEDIES.items() if words in message)])


def _repair(spec: Any, repairs: Repairs) -> None:
    for name in ("balanceinertia", "boundmass", "boundinertia"):
        if (value := getattr(repairs, name)) is not None:
            setattr(spec.compiler, name, value)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """MuJoCo's warnings as sentences; its parser would write them to a log file in the working directory."""
    messages: list[str] = []
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: messages.append(f"MuJoCo warns: {message}"))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield messages
            messages.extend(f"MuJoCo warns: {warning.message}" for warning in caught)
    finally:
        mujoco.set_mju_user_warning(previous)


def _spec(source: str | Path | MjSpec, label: str) -> Any:
    """What MuJoCo's parser makes of the source; of a spec a copy, as it will be changed."""
    if is_spec(source):
        return copy_spec(source, label)
    return mujoco.MjSpec.from_string(source) if is_xml(source) else mujoco.MjSpec.from_file(str(source))


def _scan_source(source: str | Path | MjSpec, label: str, root: str | Path | None) -> Scanned | None:
    """What the first reading of a text found; ``None`` for a spec."""
    if root is not None and (is_spec(source) or is_xml(source)):
        raise ValueError(f"root={str(root)!r} goes with a file: load the model from its path, or leave root out")
    if is_spec(source):
        check_spec(source, label)
        return None
    if is_xml(source):
        return scan(str(source).lstrip("\ufeff \t\r\n").encode("utf-8", "replace"), label, None)
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(label, [f'unknown file type "{path.suffix}": give {", ".join(SUFFIXES)}'])
    if root is not None and not is_inside(path, root):
        raise ModelError(label, [f"lies outside root={str(root)!r}: name a folder that holds the model and its files"])
    try:
        return scan(read_bytes(path, label), label, path.parent, None if root is None else Path(root))
    except OSError as error:
        raise ModelError(label, [f"cannot be read: {error.strerror}"]) from None


def _prune(spec: Any, keyframes: bool) -> None:
    """Leave out what physics does not read, so that it can neither fail nor take memory."""
    for name in _UNUSED:
        if name == "keys" and keyframes:
            continue
        for element in list(getattr(spec, name)):
            spec.delete(element)
    for material in spec.materials:
        for i in range(len(material.textures)):
            material.textures[i] = ""
    spec.compiler.fusestatic = False  # bodies keep their names; the loader welds them itself
    spec.compiler.LRopt.mode = int(mujoco.mjtLRMode.mjLRMODE_NONE)  # muscles would be simulated for seconds
    spec.nuserdata = 0
    spec.memory = mujoco.MjSpec().memory


def _add_motors(spec: Any) -> None:
    """URDF has no actuators: a joint with an effort limit gets a motor of that strength, unless it mimics another."""
    mimics = {equality.name1 for equality in spec.equalities if equality.type == mujoco.mjtEq.mjEQ_JOINT}
    for joint in spec.joints:
        strength = float(joint.actfrcrange[1])
        scalar = joint.type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
        if scalar and strength > 0 and joint.name not in mimics:
            motor = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            motor.gear[0] = strength
            motor.ctrllimited, motor.ctrlrange = mujoco.mjtLimited.mjLIMITED_TRUE, [-1, 1]


def _float(spec: Any) -> list[Any]:
    """A free joint on each root body without joints that carries joints, or on all if none does: which ones."""
    fixed = [body for body in spec.worldbody.bodies if not body.joints]
    floated = [body for body in fixed if body.find_all("joint")] or fixed
    for body in floated:
        body.add_freejoint(name=f"{body.name}_root" if body.name else "")
        _give_mass(body)  # MuJoCo wants it in the body itself, not behind it
    return floated
