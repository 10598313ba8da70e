"""``Shelf``: room for what a backward pass needs, used again by the next window."""

from __future__ import annotations

import torch


class Shelf:
    """Arrays of numbers to borrow.

    On a CPU a fresh allocation of this size means fresh pages, which take as long to map as a few sub-steps of a
    simulator take to compute. On CUDA torch's own allocator does the same job.

    Args:
        dtype: of the numbers.
        device: where they are.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self._dtype, self._device = dtype, torch.device(device)
        self._free: dict[int, list[torch.Tensor]] = {}

    def borrow(self, size: int) -> Borrowed:
        """Room for ``size`` numbers, uninitialised."""
        free = self._free.setdefault(size, []) if self._device.type == "cpu" else []
        try:
            tensor = free.pop()
        except IndexError:
            tensor = torch.empty(size, dtype=self._dtype, device=self._device)
        return Borrowed(tensor, free)


class Borrowed:
    """Numbers that go back to their shelf when the graph, or whoever else holds this, lets go of it."""

    __slots__ = ("free", "tensor")

    def __init__(self, tensor: torch.Tensor, free: list[torch.Tensor]) -> None:
        self.tensor = tensor
        self.free = free

    def __del__(self) -> None:
        self.free.append(self.tensor)
