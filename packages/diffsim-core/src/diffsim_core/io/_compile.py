"""Running MuJoCo's parser and compiler on a file, a string or a spec."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffsim_core.io._mujoco import MjSpec, mujoco
from diffsim_core.io._scan import is_inside, read_bytes, scan
from diffsim_core.io._spec import check_spec, copy_spec
from diffsim_core.io._unsupported import SINGULAR
from diffsim_core.io.errors import ModelError

SUFFIXES = (".xml", ".mjcf", ".urdf")
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


def compile_model(
    source: str | Path | MjSpec, *, floating: bool, root: str | Path | None = None
) -> tuple[Any, list[str]]:
    """MuJoCo's compiled model, without what only renderers and sensors need, and MuJoCo's warnings.

    Raises:
        ModelError: with MuJoCo's words where MuJoCo refuses.
    """
    label = source_label(source)
    kind = _scan_source(source, label, root)
    try:
        with collected_warnings() as warned:
            spec = _spec(source, label)
            _prune(spec)
            if kind == "robot":
                _add_motors(spec)
            if floating:
                _float(spec)
            return spec.compile(), warned
    except ModelError:
        raise
    except (ValueError, RuntimeError, MemoryError, mujoco.FatalError) as error:
        message = " ".join(str(error).split())
        if "QACC" in message:  # some versions take a trial step with the model
            message += f" Probably {SINGULAR}"
        raise ModelError(label, [f"MuJoCo cannot compile it: {message}"]) from None


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


def _scan_source(source: str | Path | MjSpec, label: str, root: str | Path | None) -> str:
    if root is not None and (is_spec(source) or is_xml(source)):
        raise ValueError(f"root={str(root)!r} goes with a file: load the model from its path, or leave root out")
    if is_spec(source):
        check_spec(source, label)
        return "mujoco"
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


def _prune(spec: Any) -> None:
    """Leave out what physics does not read, so that it can neither fail nor take memory."""
    for name in _UNUSED:
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
    """URDF has no actuators: a joint with an effort limit gets a motor of that strength."""
    for joint in spec.joints:
        strength = float(joint.actfrcrange[1])
        scalar = joint.type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
        if scalar and strength > 0:
            motor = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            motor.gear[0] = strength
            motor.ctrllimited, motor.ctrlrange = mujoco.mjtLimited.mjLIMITED_TRUE, [-1, 1]


def _float(spec: Any) -> None:
    """A free joint on each root body without joints that carries joints, or on all if none does."""
    fixed = [body for body in spec.worldbody.bodies if not body.joints]
    for body in [body for body in fixed if body.find_all("joint")] or fixed:
        body.add_freejoint(name=f"{body.name}_root" if body.name else "")
