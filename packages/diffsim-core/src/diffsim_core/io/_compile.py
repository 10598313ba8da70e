"""Running MuJoCo's compiler on a file or string."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io.errors import ModelError

SUFFIXES = (".xml", ".mjcf", ".urdf")


def is_xml(source: str | Path) -> bool:
    """Whether ``source`` is the XML itself rather than a path."""
    return isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("<")


def source_label(source: str | Path) -> str:
    """How messages call the source."""
    return "XML string" if is_xml(source) else str(source)


def compile_model(source: str | Path, *, floating: bool) -> tuple[Any, list[str]]:
    """``(MjModel, problems)``; what MuJoCo refuses is raised as ``ModelError`` with MuJoCo's words."""
    label = source_label(source)
    if not is_xml(source):
        path = Path(source)
        if path.suffix.lower() not in SUFFIXES:
            raise ModelError(label, [f'unknown file type "{path.suffix}": give {", ".join(SUFFIXES)}'])
        if not path.is_file():
            raise ModelError(label, ["no such file"])
    try:
        spec = mujoco.MjSpec.from_string(source) if is_xml(source) else mujoco.MjSpec.from_file(str(source))
        spec.compiler.fusestatic = False
        if floating:
            for body in spec.worldbody.bodies:
                if not body.joints:
                    body.add_freejoint()
        return spec.compile(), []
    except (ValueError, RuntimeError) as error:
        raise ModelError(label, [f"MuJoCo cannot compile it: {error}"]) from None
