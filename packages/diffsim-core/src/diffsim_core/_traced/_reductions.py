"""``Reductions``: functions of the array namespace that make one number of several, never over worlds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from diffsim_core._traced._arithmetic import add_up, along, real, together
from diffsim_core._traced._array import TracedArray, as_array, each
from diffsim_core._traced._graph import Untraceable
from diffsim_core._traced._shapes import Shapes


class Reductions(Shapes):
    """The part of :class:`Namespace` with ``sum`` and the like."""

    def _reduce(self, name: str, x: TracedArray, axis: Any, keepdims: Any, combine: Any) -> TracedArray:
        """``combine`` of the entries along the axes, flattened into the first axis of its argument."""
        if x.kind == "int":
            raise Untraceable(f"xp.{name} of integers")
        axes = self._axes(x, axis, name)
        data = np.moveaxis(x.data, axes[::-1], range(len(axes)))
        data = data.reshape(math.prod(data.shape[: len(axes)]), *data.shape[len(axes) :])
        if not len(data) and name not in ("sum", "any", "all"):
            raise Untraceable(f"xp.{name} of nothing")
        result = self.graph.together(as_array(combine(data)))
        if keepdims:
            for a in sorted(axes):
                result = np.expand_dims(result, a)
        return x.like(result)

    def sum(self, x: TracedArray, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> TracedArray:
        own = getattr(torch, self.graph.dtype)
        if dtype not in (None, own) or (x.kind == "mask" and dtype is None):
            raise Untraceable("xp.sum to integers or to another number type; use xp.astype first")
        return self._reduce("sum", x.map(real), axis, keepdims, lambda data: add_up(data, 0, self.graph))

    def mean(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False) -> TracedArray:
        if x.kind != "real":
            raise Untraceable("xp.mean of what is not real")
        count = self._count(x, axis, "mean")
        if not count:
            raise Untraceable("xp.mean of nothing")
        return self.sum(x, axis=axis, keepdims=keepdims) / float(count)

    def var(
        self, x: TracedArray, /, *, axis: Any = None, correction: float = 0.0, keepdims: Any = False
    ) -> TracedArray:
        away, count = x - self.mean(x, axis=axis, keepdims=True), self._count(x, axis, "var")
        return self.sum(away * away, axis=axis, keepdims=keepdims) / (count - correction)

    def std(
        self, x: TracedArray, /, *, axis: Any = None, correction: float = 0.0, keepdims: Any = False
    ) -> TracedArray:
        away, count = x - self.mean(x, axis=axis, keepdims=True), self._count(x, axis, "std")
        return self.vector_norm(away, axis=axis, keepdims=keepdims) / math.sqrt(count - correction)

    def _count(self, x: TracedArray, axis: Any, name: str) -> int:
        return math.prod(x.data.shape[a] for a in self._axes(x, axis, name))

    def prod(self, x: TracedArray, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> TracedArray:
        if dtype is not None or x.kind != "real":
            raise Untraceable("xp.prod of what is not real")
        return self._reduce("prod", x, axis, keepdims, lambda data: self._chain("*", data))

    def max(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False) -> TracedArray:
        return self._extreme("max", x, axis, keepdims)

    def min(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False) -> TracedArray:
        return self._extreme("min", x, axis, keepdims)

    def _extreme(self, name: str, x: TracedArray, axis: Any, keepdims: Any) -> TracedArray:
        if x.kind != "real":
            raise Untraceable(f"xp.{name} of what is not real")
        return self._reduce(name, x, axis, keepdims, lambda data: along(name, data, self.graph))

    def any(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False) -> TracedArray:
        return self._truths("any", "or", x, axis, keepdims)

    def all(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False) -> TracedArray:
        return self._truths("all", "and", x, axis, keepdims)

    def _truths(self, name: str, op: str, x: TracedArray, axis: Any, keepdims: Any) -> TracedArray:
        if x.kind != "mask":
            raise Untraceable(f"xp.{name} of numbers that are not truths")
        return self._reduce(name, x, axis, keepdims, lambda data: self._chain(op, data))

    def _chain(self, op: str, data: Any) -> Any:
        if not len(data):
            return each(lambda _: self.graph.constant(op == "and"), np.zeros(data.shape[1:], dtype=object))
        total = data[0]
        for part in data[1:]:
            total = each(lambda a, b: self.graph.apply(op, a, b), total, part)
        return total

    def vector_norm(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> TracedArray:
        if ord != 2 or x.kind != "real":
            raise Untraceable("xp.linalg.vector_norm of another order than 2")
        return self._reduce("vector_norm", x, axis, keepdims, lambda data: along("norm", data, self.graph))

    def vecdot(self, x: TracedArray, y: TracedArray, /, *, axis: int = -1) -> TracedArray:
        return self.sum(x * y, axis=axis)

    def cross(self, x1: TracedArray, x2: TracedArray, /, *, axis: int = -1) -> TracedArray:
        data, worlds = together(x1, x2)
        a, b = (TracedArray(x1.graph, part, worlds) for part in np.broadcast_arrays(*data))
        (ax, ay, az), (bx, by, bz) = self.unstack(a, axis=axis), self.unstack(b, axis=axis)
        return self.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=axis)
