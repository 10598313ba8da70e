"""Running MuJoCo's parser and compiler on a file or string."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._scan import read_bytes, scan
from diffsim_core.io._unsupported import SINGULAR
from diffsim_core.io.errors import ModelError

SUFFIXES = (".xml", ".mjcf", ".urdf")
_UNUSED = ("sensors", "keys", "skins", "textures", "cameras", "lights", "tuples")


def is_xml(source: str | Path) -> bool:
    """Whether ``source`` is the XML itself rather than a path."""
    return isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("<")


def source_label(source: str | Path) -> str:
    """How messages call the source."""
    return "XML string" if is_xml(source) else str(source)


def compile_model(source: str | Path, *, floating: bool) -> tuple[Any, list[str]]:
    """MuJoCo's compiled model, without what only renderers and sensors need, and MuJoCo's warnings.

    Raises:
        ModelError: with MuJoCo's words where MuJoCo refuses.
    """
    label = source_label(source)
    kind = _scan_source(source, label)
    try:
        with _collected_warnings() as warned:
            spec = mujoco.MjSpec.from_string(source) if is_xml(source) else mujoco.MjSpec.from_file(str(source))
            _prune(spec)
            if kind == "robot":
                _add_motors(spec)
            if floating:
                _float(spec)
            return spec.compile(), warned
    except (ValueError, RuntimeError, MemoryError, mujoco.FatalError) as error:
        message = " ".join(str(error).split())
        if "QACC" in message:  # some versions take a trial step with the model
            message += f" Probably {SINGULAR}"
        raise ModelError(label, [f"MuJoCo cannot compile it: {message}"]) from None


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
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


def _scan_source(source: str | Path, label: str) -> str:
    if is_xml(source):
        return scan(str(source).lstrip("\ufeff \t\r\n").encode("utf-8", "replace"), label, None)
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(label, [f'unknown file type "{path.suffix}": give {", ".join(SUFFIXES)}'])
    try:
        return scan(read_bytes(path, label), label, path.parent)
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


def _float(spec: Any) -> None:
    """A free joint on each root body without joints that carries joints, or on all if none does."""
    fixed = [body for body in spec.worldbody.bodies if not body.joints]
    for body in [body for body in fixed if body.find_all("joint")] or fixed:
        body.add_freejoint(name=f"{body.name}_root" if body.name else "")
