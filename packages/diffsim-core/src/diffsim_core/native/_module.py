"""C++ compiled through Warp's own compilers: clang on a CPU, NVRTC on CUDA, one source for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import warp as wp

from diffsim_core._warp import start_warp

SOURCE = Path(__file__).with_name("_source")
"""``lanes.h``, the number types of an engine, ``block.h``, its worlds, and ``team.h``, threads that share a step."""


@wp.func_native("ds::lead((long long*)pool);")
def _lead(pool: wp.uint64): ...


@wp.func_native("ds::follow((long long*)pool, patience);")
def _follow(pool: wp.uint64, patience: int): ...


@dataclass(frozen=True)
class Kernels:
    """The kernels that every engine has."""

    step: wp.Kernel
    vjp: wp.Kernel
    lead: wp.Kernel
    follow: wp.Kernel
    lanes: int
    """Worlds that one task of a kernel advances."""
    module: wp.Module

    def blocks(self, num_worlds: int) -> int:
        """Tasks that ``num_worlds`` worlds make."""
        return -(-num_worlds // self.lanes)


def cpu_lanes(dtype: str) -> int:
    """SIMD width on a CPU: 32 bytes, which AVX2 and newer hold in one register."""
    return 8 if dtype == "float32" else 4


def scalar(dtype: str) -> Any:
    """Warp's number type of that name."""
    return wp.float32 if dtype == "float32" else wp.float64


def native_module(
    name: str,
    header: str,
    *,
    folders: Sequence[Path],
    dtype: str,
    on_cuda: bool,
    defines: Mapping[str, Any],
    first: Sequence[str] = (),
) -> wp.Module:
    """A Warp module whose kernels see ``header``, a file in one of ``folders``.

    Args:
        name: of the module; must tell apart modules that are defined differently.
        header: what to include; it may include the files of :data:`SOURCE`.
        folders: with the engine's headers.
        dtype: ``"float32"`` or ``"float64"``.
        on_cuda: which compiler.
        defines: macros beside ``DS_REAL``, ``DS_DOUBLE``, ``DS_LANES`` and ``DS_HUGE``.
        first: headers to include before ``header``, by name or absolute path.
    """
    start_warp()
    macros = {
        "DS_REAL": "float" if dtype == "float32" else "double",
        "DS_DOUBLE": int(dtype == "float64"),
        "DS_LANES": 1 if on_cuda else cpu_lanes(dtype),
        "DS_HUGE": "1e30f" if dtype == "float32" else "1e200",
        **defines,
    }
    preamble = "".join(f"#define {key} {value}\n" for key, value in macros.items())
    preamble += "".join(f'#include "{each}"\n' for each in (*first, header))
    folders = [*folders, SOURCE]
    options = wp.ModuleBuildOptions(
        extra_cpu_include_dirs=folders,
        extra_cuda_include_dirs=folders,
        extra_cpu_preamble="" if on_cuda else preamble,
        extra_cuda_preamble=preamble if on_cuda else "",
        extra_build_dependencies=[path for folder in folders for path in sorted(folder.glob("*.h"))],
    )
    module = wp.get_module(name)
    wp.set_module_options({"extra_build_options": options, "enable_backward": False, "fast_math": False}, module)
    return module


def team_kernels(module: wp.Module) -> tuple[Any, Any]:
    """``lead`` and ``follow`` of ``team.h``, in a module whose header includes it."""

    @wp.kernel(module=module)
    def lead(pool: wp.uint64):
        _lead(pool)

    @wp.kernel(module=module)
    def follow(pool: wp.uint64, patience: int):
        _follow(pool, patience)

    return lead, follow
