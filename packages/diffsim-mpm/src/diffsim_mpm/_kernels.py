"""What the C++ of ``_source/`` is handed, and its compilation for the materials of a model."""

import functools
import hashlib
from pathlib import Path

from diffsim_core.native import Arguments, Kernels, native_kernels, shared_headers, step_arguments

SOURCE = Path(__file__).with_name("_source")
_MODEL = {"integers": "const int*", "reals": "const T*"}
_ROOM = {"states": "own T*", "grid": "own T*", "velocity": "own T*"}
_BACK = {"cotangents": "own T*", "stresses": "own T*", "pull": "own T*"}
STEP, VJP = step_arguments(("x", "v", "C", "F", "h"), (), ("params",))
_FUNCTIONS = {
    "mpm_step": Arguments("StepArgs", **_MODEL, **_ROOM, **STEP),
    "mpm_step_vjp": Arguments("StepVjpArgs", **_MODEL, **_ROOM, **_BACK, **VJP),
}

def kernels(dtype: str, on_cuda: bool, max_params: int = 16) -> Kernels:
    return native_kernels(
        f"diffsim_mpm_{dtype}",
        "step.h",
        _FUNCTIONS,
        folders=[shared_headers(SOURCE)],
        dtype=dtype,
        on_cuda=on_cuda,
        defines={"MPM_MAX_PARAMS": max_params, "MPM_SHAPES": 0, "MPM_MATERIALS(X, ...)": "X(0, NeoHookean, __VA_ARGS__)"},
    )
