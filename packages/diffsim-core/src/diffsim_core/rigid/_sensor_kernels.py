"""The kernels of ``_source/sensors.h``, compiled when sensors are first used; see ``_kernels.py``."""

import functools
from typing import Any

import warp as wp

from diffsim_core.rigid._kernels import SizeClass, rigid_module

_SENSE = (
    "ds::sense(index, (const int*)mi, (const ds::T*)mr, (const int*)si, (const ds::T*)sr, n, (const ds::T*)q, "
    "(const ds::T*)v, (ds::T*)values);"
)
_VJP = (
    "ds::sense_vjp(index, (const int*)mi, (const ds::T*)mr, (const int*)si, (const ds::T*)sr, n, (const ds::T*)q, "
    "(const ds::T*)v, (const ds::T*)gvalues, (ds::T*)gq, (ds::T*)gv);"
)


@wp.func_native(_SENSE)
def _sense(
    index: int, mi: wp.uint64, mr: wp.uint64, si: wp.uint64, sr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64,
    values: wp.uint64,
): ...  # fmt: skip


@wp.func_native(_VJP)
def _vjp(
    index: int, mi: wp.uint64, mr: wp.uint64, si: wp.uint64, sr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64,
    gvalues: wp.uint64, gq: wp.uint64, gv: wp.uint64,
): ...  # fmt: skip


@functools.cache
def sensor_kernels(dtype: str, on_cuda: bool, size: SizeClass, outputs: int) -> tuple[Any, Any]:
    """``(sense, its vector-Jacobian product)`` for a size class and up to ``outputs`` numbers."""
    module = rigid_module("diffsim_sensors", "sensors.h", dtype, on_cuda, size, (("DS_MAX_OUT", outputs),))

    @wp.kernel(module=module)
    def sense(
        mi: wp.uint64, mr: wp.uint64, si: wp.uint64, sr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64,
        values: wp.uint64,
    ):  # fmt: skip
        _sense(wp.tid(), mi, mr, si, sr, n, q, v, values)  # pyright: ignore[reportArgumentType]

    @wp.kernel(module=module)
    def sense_vjp(
        mi: wp.uint64, mr: wp.uint64, si: wp.uint64, sr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64,
        gvalues: wp.uint64, gq: wp.uint64, gv: wp.uint64,
    ):  # fmt: skip
        _vjp(wp.tid(), mi, mr, si, sr, n, q, v, gvalues, gq, gv)  # pyright: ignore[reportArgumentType]

    return sense, sense_vjp
