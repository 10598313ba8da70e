"""``Shapes``: functions of the array namespace that move, join and make entries; the worlds stay first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from diffsim_core._traced._arithmetic import binary, lift, matmul, real, shared
from diffsim_core._traced._array import TracedArray, as_array, each
from diffsim_core._traced._graph import Graph, Untraceable


class Shapes:
    """The part of :class:`Namespace` with ``concat``, ``zeros`` and the like.

    Args:
        graph: of the expressions.
        worlds: number of worlds N.
    """

    def __init__(self, graph: Graph, worlds: int) -> None:
        self.graph, self.worlds = graph, worlds

    def _axes(self, x: TracedArray, axis: Any, name: str) -> tuple[int, ...]:
        """Axes of the data, from the last to the first."""
        axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(a + x.ndim if a < 0 else a for a in axes)
        if any(not 0 <= a < x.ndim for a in axes):
            raise Untraceable(f"xp.{name} along an axis that the array lacks")
        if x.worlds is not None:
            if 0 in axes:
                raise Untraceable(f"xp.{name} over worlds")
            axes = tuple(a - 1 for a in axes)
        return tuple(sorted(axes, reverse=True))

    def concat(self, parts: Sequence[TracedArray], /, *, axis: int = 0) -> TracedArray:
        arrays = [lift(part, self.graph) for part in parts]
        batched = [array for array in arrays if array.worlds is not None]
        kinds = {array.kind for array in arrays if array.data.size}
        if len(kinds) > 1:
            raise Untraceable("xp.concat of different types")
        if not batched:
            return TracedArray(self.graph, np.concatenate([array.data for array in arrays], axis), None)
        rank = batched[0].ndim
        at = axis + rank if axis < 0 else axis
        if at == 0 or any(array.ndim != rank for array in arrays):
            raise Untraceable("xp.concat along worlds")
        data = [array.data if array.worlds is not None else self.in_worlds(array).data for array in arrays]
        return batched[0].like(self.graph.together(np.concatenate(data, at - 1)))

    def in_worlds(self, array: TracedArray) -> TracedArray:
        """An array of numbers ``[N, ...]`` as one of every world's."""
        if array.worlds is not None:
            return array
        if not array.ndim or array.shape[0] != self.worlds:
            raise Untraceable(f"an array of shape {array.shape} where the first axis must be the worlds")
        return TracedArray(self.graph, shared(array, array.ndim), self.worlds)

    def stack(self, parts: Sequence[TracedArray], /, *, axis: int = 0) -> TracedArray:
        rank = max(part.ndim for part in parts) + 1
        at = axis + rank if axis < 0 else axis
        return self.concat([self.expand_dims(part, axis=at) for part in parts], axis=at)

    def unstack(self, x: TracedArray, /, *, axis: int = 0) -> tuple[TracedArray, ...]:
        (at,) = self._axes(x, axis, "unstack")
        return tuple(x.like(as_array(part)) for part in np.moveaxis(x.data, at, 0))

    def expand_dims(self, x: TracedArray, /, *, axis: int = 0) -> TracedArray:
        at = axis + x.ndim + 1 if axis < 0 else axis
        if x.worlds is not None:
            if at == 0:
                raise Untraceable("a new axis before the worlds")
            at -= 1
        return x.like(np.expand_dims(x.data, at))

    def squeeze(self, x: TracedArray, /, axis: Any) -> TracedArray:
        return x.like(as_array(np.squeeze(x.data, self._axes(x, axis, "squeeze"))))

    def reshape(self, x: TracedArray, /, shape: Any, *, copy: Any = None) -> TracedArray:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if x.worlds is None:
            return x.like(x.data.reshape(shape))
        known = math.prod(length for length in shape if length != -1)
        if -1 in shape and known:
            shape = tuple(x.size // known if length == -1 else length for length in shape)
        if not shape or shape[0] != self.worlds:
            raise Untraceable("xp.reshape that moves the worlds")
        return x.like(x.data.reshape(shape[1:]))

    def broadcast_to(self, x: TracedArray, /, shape: Any) -> TracedArray:
        shape = tuple(shape)
        if x.worlds is None:
            return x.like(np.broadcast_to(x.data, shape))
        if len(shape) != x.ndim or shape[0] != self.worlds:
            raise Untraceable("xp.broadcast_to that moves the worlds")
        return x.like(np.broadcast_to(x.data, shape[1:]))

    def permute_dims(self, x: TracedArray, /, axes: Any) -> TracedArray:
        if x.worlds is None:
            return x.like(np.transpose(x.data, axes))
        if axes[0] != 0:
            raise Untraceable("xp.permute_dims that moves the worlds")
        return x.like(np.transpose(x.data, [a - 1 for a in axes[1:]]))

    def flip(self, x: TracedArray, /, *, axis: Any = None) -> TracedArray:
        return x.like(np.flip(x.data, self._axes(x, axis, "flip")))

    def take(self, x: TracedArray, indices: TracedArray, /, *, axis: int | None = None) -> TracedArray:
        if not isinstance(indices, TracedArray) or indices.kind != "int" or indices.worlds is not None:
            raise Untraceable("xp.take of indices that are no numbers")
        if axis is None:
            raise Untraceable("xp.take without an axis")
        chosen = np.array([node.value for node in indices.data.flat], dtype=np.int64).reshape(indices.data.shape)
        return x.like(np.take(x.data, chosen, axis=self._axes(x, axis, "take")[0]))

    def matmul(self, x: Any, y: Any) -> TracedArray:
        return matmul(x, y)

    def asarray(self, value: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> TracedArray:
        if isinstance(value, TracedArray):
            return value if dtype is None else self.astype(value, dtype)
        if isinstance(value, torch.Tensor):
            raise Untraceable("a torch tensor that the task holds")
        numbers = np.asarray(value)
        if dtype is None and numbers.dtype.kind == "f":
            dtype = torch.get_default_dtype() if not isinstance(value, np.ndarray | np.generic) else None
            dtype = dtype or getattr(torch, str(numbers.dtype), None)
        return self.constants(numbers, dtype)

    def constants(self, numbers: Any, dtype: Any = None) -> TracedArray:
        """An array of numbers that all worlds share."""
        own = getattr(torch, self.graph.dtype)
        kind = numbers.dtype.kind if dtype is None else {torch.bool: "b", own: "f"}.get(dtype, "i")
        if kind == "f" and (dtype == own or (dtype is None and str(numbers.dtype) == self.graph.dtype)):
            make: Any = self.graph.constant
            numbers = numbers.astype(self.graph.dtype)
        elif kind == "b":
            make, numbers = self.graph.constant, numbers.astype(np.bool_)
        elif kind in "iu" and dtype in (None, torch.int32, torch.int64):
            make = self.graph.integer
        else:
            raise Untraceable(f"an array of {dtype or numbers.dtype} in a task of {self.graph.dtype}")
        return TracedArray(self.graph, each(make, numbers.astype(object)), None)

    def full(self, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> TracedArray:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if dtype is None and isinstance(fill_value, float):
            dtype = torch.get_default_dtype()
        return self.constants(np.full(shape, fill_value), dtype)

    def zeros(self, shape: Any, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full(shape, 0.0, dtype=dtype)

    def ones(self, shape: Any, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full(shape, 1.0, dtype=dtype)

    def full_like(self, x: TracedArray, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> TracedArray:
        made = self.constants(np.full(x.data.shape, fill_value), x.dtype if dtype is None else dtype)
        return TracedArray(self.graph, made.data, x.worlds)

    def zeros_like(self, x: TracedArray, /, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full_like(x, 0, dtype=dtype)

    def ones_like(self, x: TracedArray, /, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full_like(x, 1, dtype=dtype)

    def arange(self, start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
        first, last = (0, start) if stop is None else (start, stop)
        return self.constants(np.arange(first, last, step), dtype)

    def astype(self, x: TracedArray, dtype: Any, /, *, copy: Any = True, device: Any = None) -> TracedArray:
        own = getattr(torch, self.graph.dtype)
        if dtype == x.dtype:
            return x
        if dtype == own and x.kind == "mask":
            return x.map(real)
        if dtype == own and x.kind == "int":
            return x.map(lambda node: self.graph.constant(float(node.value)))
        if dtype == torch.bool and x.kind == "real":
            return binary("!=", x, 0.0)
        raise Untraceable(f"xp.astype from {x.dtype} to {dtype}")
