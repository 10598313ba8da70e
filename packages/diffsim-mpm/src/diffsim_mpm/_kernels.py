"""What the C++ of ``_source/`` is handed, and its compilation for the materials and shapes of a model."""

import functools
from dataclasses import dataclass

from diffsim_core.native import Arguments, Kernels, native_kernels, shared_headers, step_arguments
from diffsim_mpm.materials import SOURCE, CompiledMaterials

_MODEL = {"integers": "const int*", "reals": "const T*", "chain_integers": "const int*", "chain_reals": "const T*"}
_ROOM = {"states": "own T*", "grid": "own T*", "velocity": "own T*"}
_ROOM_BACK = {"pull": "own T*", "cotangents": "own T*", "stresses": "own T*"}
_KEPT = {"kept": "own T*"}
STEP, VJP = step_arguments(("q", "x", "v", "C", "F", "h", "wrench"), ("u",), ("params",))
_ON_CPU = {
    "mpm_step": Arguments("StepArgs", **_MODEL, **_ROOM, **STEP),
    "mpm_step_vjp": Arguments("StepVjpArgs", **_MODEL, **_ROOM, **_ROOM_BACK, **_KEPT, **VJP),
}
"""Of ``_source/step.h``. An array that a model does not have (joints, parameters, hardening) is null."""


def _shared(room: dict[str, str]) -> dict[str, str]:
    """On CUDA all launches of a step share the room, and it is large enough for all worlds."""
    return {name: kind.removeprefix("own ") for name, kind in room.items()}


_LAUNCH = {**_MODEL, "num_worlds": "int", "sub": "int", "keep": "int", "poses": "T*", "impulses": "T*"}
_LAUNCH |= _shared(_ROOM)
LISTS = dict.fromkeys(("counts", "ends", "reserved", "cells", "listed", "sorted"), "int*") | {"fields": "T*"}
"""Of ``_source/lists.h``; all null where particles scatter."""
_FORWARD = Arguments("StepArgs", **_LAUNCH, **LISTS, felt="T*", **STEP)
_SUMS = {"gposes": "T*", "pose_sums": "T*", "param_sums": "T*"}
_BACKWARD = Arguments("StepVjpArgs", **_LAUNCH, **LISTS, **_shared(_ROOM_BACK), **_SUMS, **VJP)
_FORWARD_STAGES = ("begin", "pose", "clear", "leave", "reserve", "list", "sort", "grid", "move", "check", "end")
_AGAIN_STAGES = tuple(f"{stage}_again" for stage in _FORWARD_STAGES[1:-2])
_BACKWARD_STAGES = (
    "begin_vjp",
    *_AGAIN_STAGES,
    "move_vjp",
    "grid_vjp",
    "leave_vjp",
    "poses_vjp",
    "joints_vjp",
    "end_vjp",
)
_ON_CUDA = {f"mpm_{stage}": _FORWARD for stage in _FORWARD_STAGES}
_ON_CUDA |= {f"mpm_{stage}": _BACKWARD for stage in _BACKWARD_STAGES}
"""Of ``_source/launches.h`` and ``launches_vjp.h``."""


def sum_numbers(dtype: str) -> int:
    """Numbers that an exact sum of ``_source/sums.h`` takes as much room as."""
    return 68 if dtype == "float64" else 24


@dataclass(frozen=True)
class SizeClass:
    """What a module is compiled for: materials, and bounds of its local arrays."""

    materials: CompiledMaterials
    parameters: int
    """Of the materials of all bodies."""
    joints: int = 0
    shapes: int = 0

    @classmethod
    def of(cls, materials: CompiledMaterials, parameters: int, joints: int, shapes: int) -> "SizeClass":
        """Round sizes up, so that few modules serve many models."""

        def up(n: int, step: int) -> int:
            return -(-n // step) * step

        return cls(materials, up(parameters, 16), up(max(joints, 1), 8) if shapes else 0, up(shapes, 8))


@functools.cache
def kernels(dtype: str, on_cuda: bool, size: SizeClass) -> Kernels:
    """Kernels for a number type (``"float32"`` or ``"float64"``), a kind of device and a size class."""
    materials = size.materials
    defines = {
        **materials.defines,
        "MPM_MAX_PARAMS": size.parameters,
        "MPM_SHAPES": int(size.shapes > 0),
        "DS_MAX_JOINTS": size.joints,
        "DS_MAX_SHAPES": size.shapes,
    }
    place = "cuda" if on_cuda else "cpu"
    sizes = f"p{size.parameters}" + (f"_j{size.joints}_s{size.shapes}" if size.shapes else "")
    return native_kernels(
        f"diffsim_mpm_{materials.name}_{dtype}_{place}_{sizes}",
        "launches_vjp.h" if on_cuda else "step.h",
        _ON_CUDA if on_cuda else _ON_CPU,
        folders=[shared_headers(SOURCE), *materials.folders],
        dtype=dtype,
        on_cuda=on_cuda,
        defines=defines,
        first=["fused.h", *materials.includes],
    )
