"""Registers and memory of a module's compiled CUDA kernels, read from the object file; no GPU is needed."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

_REGISTERS, _FRAME = 0x2F, 0x11
"""Attributes of ``.nv.info``: EIATTR_REGCOUNT and EIATTR_FRAME_SIZE, each a symbol and a number."""
_PAIR = 4
"""The format of attributes that state their size."""
_SUFFIX = "_cuda_kernel_forward"


class Kernel(NamedTuple):
    """Resources of one kernel."""

    registers: int
    """Registers of a thread."""
    local_bytes: int
    """Local memory of a thread: arrays and everything that did not fit into registers."""
    shared_bytes: int
    """Shared memory of a block."""
    code_bytes: int


def compile_for(module: Any, arch: int) -> dict[str, Kernel]:
    """Compile a Warp module for a compute capability and read the resources of its kernels.

    Args:
        module: a Warp module of kernels.
        arch: for instance 90 for an H100.

    Raises:
        RuntimeError: this version of Warp cannot compile for it; stderr has the compiler's message.
    """
    import warp as wp

    with tempfile.TemporaryDirectory() as folder:
        try:
            wp.compile_aot_module(module, device=None, arch=arch, module_dir=folder, use_ptx=False, strip_hash=True)
            (cubin,) = Path(folder).glob("*.cubin")
        except Exception as error:
            raise RuntimeError(
                f"arch={arch}: CUDA's compiler failed ({error}); does it know this architecture?"
            ) from error
        return read_cubin(cubin)


def read_cubin(path: Path) -> dict[str, Kernel]:
    """Resources of the kernels of an object file, by their names in the source.

    Raises:
        ValueError: the file is not a CUDA object file.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            info: Any = elf.get_section_by_name(".nv.info")
            symbols: Any = elf.get_section_by_name(".symtab")
        except ELFError as error:
            raise ValueError(f"{path} is not an object file: {error}") from None
        if info is None or symbols is None:
            raise ValueError(f"{path} is not a CUDA object file: it lacks .nv.info or .symtab")
        names = [symbol.name for symbol in symbols.iter_symbols()]
        attributes = _attributes(info.data())
        sizes = {section.name: section["sh_size"] for section in elf.iter_sections()}
    return {
        _plain(names[symbol]): Kernel(
            registers=registers,
            local_bytes=attributes.get((_FRAME, symbol), 0),
            shared_bytes=sizes.get(f".nv.shared.{names[symbol]}", 0),
            code_bytes=sizes[f".text.{names[symbol]}"],
        )
        for (kind, symbol), registers in attributes.items()
        if kind == _REGISTERS and names[symbol].endswith(_SUFFIX)
    }


def _attributes(data: bytes) -> dict[tuple[int, int], int]:
    """``(attribute, symbol) -> number`` of the attributes in ``_PAIR``'s format."""
    found: dict[tuple[int, int], int] = {}
    place = 0
    while place < len(data):
        kind, attribute, size = struct.unpack_from("<BBH", data, place)
        place += 4
        if kind == _PAIR:
            if size == 8:
                symbol, number = struct.unpack_from("<II", data, place)
                found[attribute, symbol] = number
            place += size
    return found


def _plain(name: str) -> str:
    """``_define__locals__control_step_cuda_kernel_forward`` as ``control_step``."""
    return name.removesuffix(_SUFFIX).rpartition("__locals__")[2]
