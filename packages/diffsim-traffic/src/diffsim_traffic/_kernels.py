"""Compiles ``_source/`` for a law of car following and wraps it in kernels, see ``diffsim_core.native``."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import warp as wp

from diffsim_core.native import Kernels, cpu_lanes, native_module, team_kernels
from diffsim_traffic.laws import Law

_SOURCE = Path(__file__).with_name("_source")
_STATE = "(const ds::T*)x, (const ds::T*)v, (const ds::T*)y, (const ds::T*)psi, (const ds::T*)p, "
_CONTROL = "(const ds::T*)steering, (const ds::T*)acc, "


@wp.func_native(
    "ds::traffic_step(index, (const int*)mi, (const ds::T*)mr, n, "
    + _STATE
    + _CONTROL
    + "(ds::T*)x_out, (ds::T*)v_out, "
    "(ds::T*)y_out, (ds::T*)psi_out, (ds::T*)p_out, (int*)ok);"
)
def _step(
    index: int, mi: wp.uint64, mr: wp.uint64, n: int, x: wp.uint64, v: wp.uint64, y: wp.uint64, psi: wp.uint64,
    p: wp.uint64, steering: wp.uint64, acc: wp.uint64, x_out: wp.uint64, v_out: wp.uint64, y_out: wp.uint64,
    psi_out: wp.uint64, p_out: wp.uint64, ok: wp.uint64,
): ...  # fmt: skip


@wp.func_native(
    "ds::traffic_step_vjp(index, (const int*)mi, (const ds::T*)mr, n, " + _STATE + _CONTROL + "(const int*)ok, "
    "(const ds::T*)gx_out, (const ds::T*)gv_out, (const ds::T*)gy_out, (const ds::T*)gpsi_out, (const ds::T*)gp_out, "
    "(ds::T*)gx, (ds::T*)gv, (ds::T*)gy, (ds::T*)gpsi, (ds::T*)gp, (ds::T*)gsteering, (ds::T*)gacc);"
)
def _vjp(
    index: int, mi: wp.uint64, mr: wp.uint64, n: int, x: wp.uint64, v: wp.uint64, y: wp.uint64, psi: wp.uint64,
    p: wp.uint64, steering: wp.uint64, acc: wp.uint64, ok: wp.uint64, gx_out: wp.uint64, gv_out: wp.uint64,
    gy_out: wp.uint64, gpsi_out: wp.uint64, gp_out: wp.uint64, gx: wp.uint64, gv: wp.uint64, gy: wp.uint64,
    gpsi: wp.uint64, gp: wp.uint64, gsteering: wp.uint64, gacc: wp.uint64,
): ...  # fmt: skip


def kernels(law: Law, dtype: str, on_cuda: bool, num_controlled: int, smooth: bool) -> Kernels:
    """Kernels for a law, a number type, a kind of device, and up to as many vehicles under control (rounded up)."""
    key = (law.name, law.header, len(law.parameters), tuple(sorted(law.defines.items())))
    return _kernels(*key, dtype, on_cuda, max(4, -(-num_controlled // 4) * 4), smooth)


@functools.cache
def _kernels(
    name: str,
    header: Path,
    parameters: int,
    defines: tuple[tuple[str, int], ...],
    dtype: str,
    on_cuda: bool,
    controlled: int,
    smooth: bool,
) -> Kernels:
    macros = {
        "TR_LAW": f'"{header.name}"',
        "TR_PARAMS": parameters,
        "TR_MAX_CONTROLLED": controlled,
        "TR_SMOOTH": int(smooth),
        **dict(defines),
    }
    # Two laws may share a name, a header's name or neither: what was compiled is told apart by all that defines it.
    told = hashlib.sha256(repr((header, parameters, defines)).encode()).hexdigest()[:8]
    place = "cuda" if on_cuda else "cpu"
    module = native_module(
        f"diffsim_traffic_{name}_{told}_{dtype}_{place}_c{controlled}{'_smooth' if smooth else ''}",
        "pool.h",
        folders=[_SOURCE, header.parent],
        dtype=dtype,
        on_cuda=on_cuda,
        defines=macros,
    )
    step, vjp = _define(module)
    lead, follow = team_kernels(module)
    lanes = 1 if on_cuda else cpu_lanes(dtype)
    return Kernels(step=step, vjp=vjp, lead=lead, follow=follow, lanes=lanes, module=module)


def _define(module: wp.Module) -> tuple[Any, Any]:
    @wp.kernel(module=module)
    def traffic_step(
        mi: wp.uint64, mr: wp.uint64, n: int, x: wp.uint64, v: wp.uint64, y: wp.uint64, psi: wp.uint64, p: wp.uint64,
        steering: wp.uint64, acc: wp.uint64, x_out: wp.uint64, v_out: wp.uint64, y_out: wp.uint64, psi_out: wp.uint64,
        p_out: wp.uint64, ok: wp.uint64,
    ):  # fmt: skip
        _step(wp.tid(), mi, mr, n, x, v, y, psi, p, steering, acc, x_out, v_out, y_out, psi_out, p_out, ok)  # pyright: ignore[reportArgumentType]

    @wp.kernel(module=module)
    def traffic_step_vjp(
        mi: wp.uint64, mr: wp.uint64, n: int, x: wp.uint64, v: wp.uint64, y: wp.uint64, psi: wp.uint64, p: wp.uint64,
        steering: wp.uint64, acc: wp.uint64, ok: wp.uint64, gx_out: wp.uint64, gv_out: wp.uint64, gy_out: wp.uint64,
        gpsi_out: wp.uint64, gp_out: wp.uint64, gx: wp.uint64, gv: wp.uint64, gy: wp.uint64, gpsi: wp.uint64,
        gp: wp.uint64, gsteering: wp.uint64, gacc: wp.uint64,
    ):  # fmt: skip
        _vjp(
            wp.tid(), mi, mr, n, x, v, y, psi, p, steering, acc, ok, gx_out, gv_out, gy_out, gpsi_out, gp_out, gx, gv,
            gy, gpsi, gp, gsteering, gacc,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip

    return traffic_step, traffic_step_vjp
