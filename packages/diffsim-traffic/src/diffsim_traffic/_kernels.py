"""What the C++ of ``_source/`` is handed, and its compilation for a law, see ``diffsim_core.native``."""

import functools
import hashlib
from pathlib import Path

from diffsim_core.native import Arguments, Kernels, native_kernels, shared_headers, step_arguments
from diffsim_traffic.laws import Law

_SOURCE = Path(__file__).with_name("_source")

_MODEL = {"integers": "const int*", "reals": "const T*", "num_worlds": "int"}
STEP, VJP = step_arguments(("x", "v", "y", "psi"), ("steering", "acceleration"), ("drivers",))
_FUNCTIONS = {
    "traffic_step": Arguments("StepArgs", **_MODEL, **STEP),
    "traffic_step_vjp": Arguments("StepVjpArgs", **_MODEL, **VJP),
}


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
    ours = header.parent == _SOURCE
    told = hashlib.sha256(repr((header.name if ours else header, parameters, defines)).encode()).hexdigest()[:8]
    place = "cuda" if on_cuda else "cpu"
    return native_kernels(
        f"diffsim_traffic_{name}_{told}_{dtype}_{place}_c{controlled}{'_smooth' if smooth else ''}",
        "step.h",
        _FUNCTIONS,
        folders=[shared_headers(_SOURCE), *([] if ours else [header.parent])],
        dtype=dtype,
        on_cuda=on_cuda,
        defines=macros,
    )
