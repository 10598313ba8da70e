"""``diffrl bench kernels``: the GPU resources of a simulator's kernels, from the compiler alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ._cubin import Kernel, compile_for
from ._machine import versions

WARP = 32
BLOCK = 32
"""Threads of a block as the engines launch it, one world each."""
_RESERVED_SHARED = 1024
"""Bytes of every block that the system reserves since compute capability 8.0."""


class Multiprocessor(NamedTuple):
    """Limits of one multiprocessor (CUDA programming guide, table of technical specifications)."""

    gpu: str
    """A GPU that has it, and how many multiprocessors that GPU has."""
    processors: int
    registers: int
    warps: int
    blocks: int
    shared_bytes: int


ARCHITECTURES = {
    80: Multiprocessor("A100", 108, 65536, 64, 32, 164 * 1024),
    90: Multiprocessor("H100 SXM", 132, 65536, 64, 32, 228 * 1024),
    100: Multiprocessor("B200", 148, 65536, 64, 32, 228 * 1024),
}
_PARTITIONS = 4
"""Partitions of a multiprocessor's registers; the registers of a warp lie in one of them."""
_REGISTER_UNIT = 256
"""Registers are allocated to a warp in units of this size."""


def resident_warps(kernel: Kernel, limits: Multiprocessor, block: int = BLOCK) -> int:
    """Warps of ``kernel`` that one multiprocessor holds at a time, by registers, shared memory and its other limits."""
    warps = -(-block // WARP)
    each = math.ceil(kernel.registers * WARP / _REGISTER_UNIT) * _REGISTER_UNIT
    by_registers = _PARTITIONS * (limits.registers // _PARTITIONS // each) if each else limits.warps
    by_shared = limits.shared_bytes // (kernel.shared_bytes + _RESERVED_SHARED)
    blocks = min(limits.blocks, by_shared, min(by_registers, limits.warps) // warps)
    return blocks * warps


def step_bytes(dynamics: Any) -> dict[str, int]:
    """Bytes of device memory that one world's control step must read and write with any kernel.

    ``forward`` records nothing, ``recording`` stores the input of the backward pass.
    """
    number = 4 if dynamics.dtype == "float32" else 8
    state, control, constants = (
        sum(math.prod(part.shape) for part in spec)
        for spec in (dynamics.state_spec, dynamics.control_spec, getattr(dynamics, "constant_spec", ()))
    )
    many = 1024
    kept = dynamics.saved_size(many) // many
    forward = number * (2 * state + control + constants) + 4
    return {
        "forward": forward,
        "recording": forward + number * kept,
        "backward": number * (kept + 2 * (state + control + constants)) + 4,
    }


def bench_kernels(task: str, arches: Sequence[int], *, dtype: str = "float32") -> dict[str, Any]:
    """Compile a task's simulator for each architecture, and report the resources of its kernels.

    Raises:
        ValueError: an unknown task, number type or architecture, or a simulator that is not ours.
        RuntimeError: CUDA's compiler failed.
    """
    from diffsim_core import make

    for arch in arches:
        if arch not in ARCHITECTURES:
            raise ValueError(f"arch is {arch}; it must be one of {', '.join(map(str, ARCHITECTURES))}")
    dynamics = make(task, num_envs=1, dtype=dtype).task.dynamics
    if not hasattr(dynamics, "cuda_module"):
        raise ValueError(f"task {task!r} has no CUDA kernels of its own: {type(dynamics).__name__}")
    rows = []
    for arch in arches:
        found = compile_for(dynamics.cuda_module(), arch)
        rows += [_row(name, kernel, arch) for name, kernel in sorted(found.items())]
    return {
        "benchmark": "kernels",
        "task": task,
        "dtype": dtype,
        "block": BLOCK,
        "kernels": rows,
        "bytes_per_step": step_bytes(dynamics),
        "versions": versions(),
    }


def _row(name: str, kernel: Kernel, arch: int) -> dict[str, Any]:
    limits = ARCHITECTURES[arch]
    warps = resident_warps(kernel, limits)
    return {
        "kernel": name,
        "arch": arch,
        "gpu": limits.gpu,
        **kernel._asdict(),
        "resident_warps": warps,
        "occupancy": warps / limits.warps,
        "resident_worlds": warps * WARP * limits.processors,
    }
