"""A ``mujoco.MjSpec`` as source: bounds as on the text of a model file, and a copy that has everything in it."""

from __future__ import annotations

from collections import Counter

from diffsim_core.io._mujoco import MjSpec
from diffsim_core.io._scan import MAX_DEPTH, MAX_ELEMENTS, MAX_GRID, MAX_SIZE
from diffsim_core.io.errors import ModelError

_LISTS = ("bodies", "joints", "geoms", "sites", "frames", "meshes", "tendons", "actuators", "equalities", "pairs",
          "excludes", "hfields", "materials", "numerics", "texts", "flexes", "plugins")  # fmt: skip
_SIZES = ("nconmax", "njmax", "nstack", "nuser_body", "nuser_jnt", "nuser_geom", "nuser_site", "nuser_cam",
          "nuser_tendon", "nuser_actuator", "nuser_sensor")  # fmt: skip


def check_spec(spec: MjSpec, label: str) -> None:
    """Raise unless a spec is of a size that a model file may have.

    Raises:
        ModelError: it has too many elements or levels, or asks for absurd sizes.
    """
    elements = sum(len(getattr(spec, name)) for name in _LISTS)
    if elements > MAX_ELEMENTS:
        raise ModelError(label, [f"it has {elements} elements: at most {MAX_ELEMENTS} are read"])
    problems = []
    level, depth = [spec.worldbody], 0
    while level and depth <= MAX_DEPTH:
        level, depth = [child for body in level for child in body.bodies], depth + 1
    if level:
        problems.append(f"its bodies are over {MAX_DEPTH} levels deep: at most {MAX_DEPTH} are read")
    for name in _SIZES:
        if getattr(spec, name, 0) > MAX_SIZE:
            problems.append(f"it has {name} = {getattr(spec, name)}: set it to -1")
    for field in spec.hfields:
        if max(field.nrow, field.ncol) > MAX_GRID:
            problems.append(
                f'hfield "{field.name}" has {field.nrow} x {field.ncol} heights: at most {MAX_GRID} each way'
            )
    if problems:
        raise ModelError(label, problems)


def copy_spec(spec: MjSpec, label: str) -> MjSpec:
    """A copy that may be changed.

    Raises:
        ModelError: MuJoCo left something out of the copy, as it does with what names elements that are not there.
    """
    copy = spec.copy()
    problems = []
    for name in _LISTS:
        lost = Counter(x.name for x in getattr(spec, name)) - Counter(x.name for x in getattr(copy, name))
        problems += [f'{name}: "{x}" cannot be copied; it names an element that is not there' for x in lost.elements()]
    if problems:
        raise ModelError(label, problems)
    return copy
