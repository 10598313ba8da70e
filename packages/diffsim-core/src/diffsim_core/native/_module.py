"""C++ compiled through Warp's own compilers: clang on a CPU, NVRTC on CUDA, one source for both."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import warp as wp

from diffsim_core._warp import start_warp
from diffsim_core.native._arguments import Arguments
from diffsim_core.native._headers import shared_headers

SOURCE = Path(__file__).with_name("_source")
"""``lanes.h``, the number types of an engine, ``block.h``, its worlds, and ``team.h``, threads that share a step."""


@wp.func_native("ds::lead((long long*)pool);")
def _lead(pool: wp.uint64): ...


@wp.func_native("ds::follow((long long*)pool, patience);")
def _follow(pool: wp.uint64, patience: int): ...


@dataclass(frozen=True)
class Kernels:
    """The functions of an engine, compiled for a number type and a kind of device."""

    functions: Mapping[str, Arguments]
    """What each C++ function takes, by its name."""
    dtype: str
    on_cuda: bool
    lanes: int
    """Worlds of a block: a SIMD register's on a CPU, one on CUDA."""
    module: wp.Module
    entries: Mapping[str, wp.Kernel]
    """On CUDA a kernel of the name of each function; on a CPU ``lead`` and ``follow`` of ``team.h``."""

    def blocks(self, num_worlds: int) -> int:
        """Blocks that ``num_worlds`` worlds make."""
        return -(-num_worlds // self.lanes)


def cpu_lanes(dtype: str) -> int:
    """SIMD width on a CPU: 32 bytes, which AVX2 and newer hold in one register."""
    return 8 if dtype == "float32" else 4


def wide_lanes(dtype: str) -> int:
    """SIMD width on a CPU for functions that are best with as many worlds as registers hold: 64 bytes with AVX-512.

    Where steps wait for each other's results, as those along a chain of links do, twice the worlds take less than twice
    the time, on CPUs too that do no more arithmetic in a cycle with AVX-512.
    """
    return 2 * cpu_lanes(dtype) if _has_avx512() else cpu_lanes(dtype)


@functools.cache
def _has_avx512() -> bool:
    known: Any = np.show_config(mode="dicts")
    extensions = known.get("SIMD Extensions", {})
    names = {*extensions.get("baseline", ()), *extensions.get("found", ())}
    return not names.isdisjoint({"AVX512_SKX", "X86_V4"})  # the same, as older and newer NumPy call it


def scalar(dtype: str) -> Any:
    """Warp's number type of that name."""
    return wp.float32 if dtype == "float32" else wp.float64


def native_kernels(
    name: str,
    header: str,
    functions: Mapping[str, Arguments],
    *,
    folders: Sequence[Path],
    dtype: str,
    on_cuda: bool,
    defines: Mapping[str, Any],
    first: Sequence[str] = (),
    text: str = "",
    lanes: int | None = None,
) -> Kernels:
    """Kernels of C++ functions, compiled at their first launch and then cached on disk by Warp.

    A function handles one item of a launch: ``DS_ITEM void NAME(int item, const STRUCT& args)``.

    Args:
        name: of the Warp module; must tell apart what is defined differently.
        header: the file in one of ``folders`` that defines the functions. It may include the files of :data:`SOURCE`,
            and it finds the structs already declared.
        functions: what each function takes, by its name.
        folders: with the engine's headers.
        dtype: ``"float32"`` or ``"float64"``.
        on_cuda: which compiler.
        defines: macros in addition to ``DS_REAL``, ``DS_DOUBLE``, ``DS_LANES`` and ``DS_HUGE``.
        first: headers to include before ``header``, by name or absolute path.
        text: C++ that follows ``header``. Modules that include the same folders share what Warp's compiler made of its
            own headers; a folder for each module would cost seconds.
        lanes: worlds of a block on a CPU; by default :func:`cpu_lanes`. A power of two.
    """
    start_warp()
    lanes = 1 if on_cuda else lanes or cpu_lanes(dtype)
    macros = {
        "DS_REAL": "float" if dtype == "float32" else "double",
        "DS_DOUBLE": int(dtype == "float64"),
        "DS_LANES": lanes,
        "DS_HUGE": "1e30f" if dtype == "float32" else "1e200",
        **defines,
    }
    preamble = "".join(f"#define {key} {value}\n" for key, value in macros.items())
    preamble += _header((*first, header), text, functions, dtype, on_cuda)
    folders = [*folders, shared_headers(SOURCE)]
    options = wp.ModuleBuildOptions(
        extra_cpu_include_dirs=folders,
        extra_cuda_include_dirs=folders,
        extra_cpu_preamble=preamble,
        extra_cuda_preamble=preamble,
        extra_build_dependencies=[path for folder in folders for path in sorted(folder.glob("*.h"))],
    )
    module = wp.get_module(name)
    wp.set_module_options({"extra_build_options": options, "enable_backward": False, "fast_math": False}, module)
    if on_cuda:
        entries = {key: _cuda_kernel(key, arguments, dtype, module) for key, arguments in functions.items()}
    else:
        entries = _team_kernels(module)
    frozen = MappingProxyType(dict(functions))
    return Kernels(functions=frozen, dtype=dtype, on_cuda=on_cuda, lanes=lanes, module=module, entries=entries)


def _header(headers: Sequence[str], more: str, functions: Mapping[str, Arguments], dtype: str, on_cuda: bool) -> str:
    """The text that native sources see: structs, the engine, and what calls its functions."""
    structs = "".join(arguments.declaration(dtype) for arguments in dict.fromkeys(functions.values()))
    included = "".join(f'#include "{each}"\n' for each in headers)
    text = f'#include "lanes.h"\nnamespace ds {{\n{structs}}}\n{included}{more}'
    if on_cuda:
        callers = "".join(arguments.on_cuda(name) for name, arguments in functions.items())
        return f"{text}namespace ds {{\n{callers}}}\n"
    calls = [f"    case {k}: {{ {functions[name].on_cpu(name)} return; }}\n" for k, name in enumerate(functions)]
    head = "DS_FN void work(long long* pool, const Job& job, int worker)"
    body = f"{{\n    switch (job.function) {{\n{''.join(calls)}    }}\n}}\n"
    return f'{text}#include "team.h"\nnamespace ds {{\n{head}\n{body}}}\n'


def _cuda_kernel(name: str, arguments: Arguments, dtype: str, module: wp.Module) -> Any:
    struct = arguments.warp_struct(dtype, module)

    # Warp reads types from the annotations, as objects, and names from the qualified names.
    def native(item, args): ...

    native.__annotations__ = {"item": int, "args": struct}
    native.__qualname__ = f"native_{name}"
    native = wp.func_native(f"ds::launch_{name}(item, args);")(native)

    def kernel(args):
        native(wp.tid(), args)

    kernel.__annotations__ = {"args": struct}
    kernel.__qualname__ = name
    return wp.kernel(kernel, module=module)


def _team_kernels(module: wp.Module) -> dict[str, Any]:
    @wp.kernel(module=module)
    def lead(pool: wp.uint64):
        _lead(pool)

    @wp.kernel(module=module)
    def follow(pool: wp.uint64, patience: int):
        _follow(pool, patience)

    return {"lead": lead, "follow": follow}
