"""``Scratch``: memory that the launches of a step share, or that a worker has for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import warp as wp

from diffsim_core.native._arguments import Arguments
from diffsim_core.native._module import Kernels

_LINE = 64
"""Bytes of a cache line: where scratch begins, so that no two workers write to one line."""


class Scratch:
    """Buffers by argument, allocated when first asked for and again when they must be larger.

    Args:
        sizes: how many numbers so many worlds need, by argument; of a worker, where the argument is ``own``.
        kernels: whose functions list these arguments.
        device: where.
        threads: workers of a CPU; on CUDA each item is one.

    Raises:
        ValueError: for an argument that no function lists, that is no pointer, or that functions list differently.
    """

    def __init__(self, sizes: Mapping[str, Callable[[int], int]], kernels: Kernels, device: str, threads: int) -> None:
        self._sizes = dict(sizes)
        self._listed = {name: _listed(name, kernels) for name in sizes}
        self._dtype = kernels.dtype
        self._threads = None if kernels.on_cuda else threads
        self._device = device
        self._buffers: dict[str, Any] = {}
        self._outgrown: list[Any] = []
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}

        self.names: tuple[str, ...] = tuple(f for name, listed in self._listed.items() for f in listed.fields_of(name))
        """Of the fields that hold scratch; none where an engine needs no scratch."""

    def values(self, num_worlds: int, items: int) -> tuple[int, ...]:
        """Of these fields, in the order of ``names``, for so many worlds and launches of at most so many items."""
        known = self._known.get((num_worlds, items))
        if known is None:
            known = self._known[num_worlds, items] = self._values(num_worlds, items)
        return known

    def _values(self, num_worlds: int, items: int) -> tuple[int, ...]:
        found: list[int] = []
        for name, size in self._sizes.items():
            listed = self._listed[name]
            width, numbers = listed.number_bytes(name, self._dtype), size(num_worlds)
            if name not in listed.own:
                found.append(self._room(name, numbers * width))
                continue
            stride = -(-numbers * width // _LINE) * _LINE
            workers = items if self._threads is None else self._threads
            found += self._room(name, stride * workers), stride // width
        return tuple(found)

    def _room(self, name: str, needed: int) -> int:
        """Address of at least so many bytes."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < needed + _LINE:
            if buffer is not None and self._threads is None:
                self._outgrown.append(buffer)  # a CUDA graph may have captured its address
            kind: Any = wp.uint8
            buffer = self._buffers[name] = wp.empty(needed + _LINE, dtype=kind, device=self._device)
            self._known.clear()  # whose addresses may be those of the memory that this one replaces
        return -(-(buffer.ptr or 0) // _LINE) * _LINE


def _listed(name: str, kernels: Kernels) -> Arguments:
    by_type = {a.types[name]: a for a in kernels.functions.values() if name in a.types}
    if len(by_type) != 1 or not next(iter(by_type)).endswith("*"):
        raise ValueError(f"scratch {name!r} must be a pointer of one type; the functions list it as {list(by_type)}")
    return next(iter(by_type.values()))
