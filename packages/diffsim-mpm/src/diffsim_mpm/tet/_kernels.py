"""What the C++ of ``_source/`` is handed, and its compilation, see ``diffsim_core.native``.

One module serves all meshes.
"""

from __future__ import annotations

import functools
from pathlib import Path

from diffsim_core.native import Arguments, Kernels, native_kernels, shared_headers, step_arguments

_SOURCE = Path(__file__).with_name("_source")
_MODEL = {"integers": "const int*", "reals": "const T*", "num_worlds": "int"}
_SUBSTEPS = {"substeps": "int", "dt": "T", "limit": "T"}
STATE, CONTROL, CONSTANTS = ("x", "v"), ("u", "ends", "ends_v"), ("k_mu", "k_lambda", "density")
STEP, VJP = step_arguments(STATE, CONTROL, CONSTANTS)


@functools.cache
def kernels(dtype: str, on_cuda: bool) -> Kernels:
    """Kernels for a number type and a kind of device.

    On a CPU each worker has room of its own for the states of a control step; on CUDA the worlds' numbers interleave.
    """
    room = {"room": "T*" if on_cuda else "own T*"}
    functions = {
        "tet_step": Arguments("StepArgs", **_MODEL, **_SUBSTEPS, **STEP, **room),
        "tet_step_vjp": Arguments("StepVjpArgs", **_MODEL, **_SUBSTEPS, segment="int", **VJP, **room),
    }
    place = "cuda" if on_cuda else "cpu"
    folders = [shared_headers(_SOURCE)]
    compiler = {"folders": folders, "dtype": dtype, "on_cuda": on_cuda, "defines": {}}
    return native_kernels(f"diffsim_tet_{dtype}_{place}", "step.h", functions, **compiler)
