"""``Namespace``: the array namespace ``xp`` that a task's functions are handed while they are traced.

It has as much of the array API standard as can be traced. Everything else raises ``Untraceable`` with its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from diffsim_core.traced._arithmetic import (
    add_up,
    along,
    binary,
    lift,
    matmul,
    power,
    real,
    shared,
    together,
    unary,
)
from diffsim_core.traced._array import TracedArray, as_array, each
from diffsim_core.traced._graph import Graph, Node, Untraceable

_UNARY = {
    **{name: name for name in ("abs", "sqrt", "floor", "ceil", "round", "trunc", "sin", "cos", "tan", "tanh", "exp")},
    **{name: name for name in ("sinh", "cosh", "asin", "acos", "atan", "expm1", "log", "log1p", "sign")},
    **{name: name for name in ("isnan", "isinf", "isfinite")},
    "negative": "neg",
    "logical_not": "not",
    "bitwise_invert": "not",
}
_BINARY = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "atan2": "atan2",
    "maximum": "maximum",
    "minimum": "minimum",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    **{f"{form}_{name}": name for form in ("logical", "bitwise") for name in ("and", "or", "xor")},
}


class Namespace:
    """See the module.

    Args:
        graph: of the expressions.
        worlds: number of worlds N.
    """

    __name__ = "diffsim_core.traced"
    pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None
    bool, float32, float64, int32, int64 = torch.bool, torch.float32, torch.float64, torch.int32, torch.int64

    def __init__(self, graph: Graph, worlds: int) -> None:
        self.graph, self.worlds = graph, worlds
        self.linalg = _Linalg(self)

    def __getattr__(self, name: str) -> Any:
        if name in _UNARY:
            return lambda x: unary(_UNARY[name], lift(x, self.graph))
        if name in _BINARY:
            return lambda x, y: binary(_BINARY[name], lift(x, self.graph), y)
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"xp.{name}")

    def pow(self, x: Any, y: Any) -> TracedArray:
        return power(x, y)

    def square(self, x: TracedArray) -> TracedArray:
        return power(x, 2)

    def reciprocal(self, x: TracedArray) -> TracedArray:
        return 1.0 / x

    def positive(self, x: TracedArray) -> TracedArray:
        return x

    def where(self, condition: TracedArray, x: Any, y: Any) -> TracedArray:
        if not isinstance(condition, TracedArray) or condition.kind != "mask":
            raise Untraceable("xp.where of a condition that is no array of truths")
        data, worlds = together(condition, lift(x, self.graph), lift(y, self.graph))
        graph = self.graph

        def choose(mask: Node, a: Node, b: Node) -> Node:
            if "int" in (a.kind, b.kind):
                raise Untraceable("xp.where of integers")
            if a.kind == b.kind == "mask":
                return graph.apply("where_mask", mask, a, b)
            return graph.apply("where", mask, real(a), real(b))

        return TracedArray(graph, graph.together(each(choose, *data)), worlds)

    def clip(self, x: TracedArray, /, min: Any = None, max: Any = None) -> TracedArray:
        if x.kind != "real":
            raise Untraceable("xp.clip of what is not real")
        bounds = [
            lift(default if bound is None else bound, self.graph)
            for bound, default in ((min, -math.inf), (max, math.inf))
        ]
        if any(node.op != "const" or node.value != node.value for bound in bounds for node in bound.data.flat):
            raise Untraceable("xp.clip between bounds that are no numbers")
        data, worlds = together(x, *bounds)
        clipped = each(lambda *nodes: self.graph.apply("clip", *nodes), *data)
        return TracedArray(self.graph, self.graph.together(clipped), worlds)

    # Reductions

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
        return self.linalg.vector_norm(away, axis=axis, keepdims=keepdims) / math.sqrt(count - correction)

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

    # Shapes

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

    def vecdot(self, x: Any, y: Any, /, *, axis: int = -1) -> TracedArray:
        return self.sum(x * y, axis=axis)

    # Making arrays

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


class _Linalg:
    """``xp.linalg``."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp
        self.matmul, self.vecdot = xp.matmul, xp.vecdot

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"xp.linalg.{name}")

    def cross(self, x1: TracedArray, x2: TracedArray, /, *, axis: int = -1) -> TracedArray:
        xp = self._xp
        data, worlds = together(x1, x2)
        a, b = (TracedArray(x1.graph, part, worlds) for part in np.broadcast_arrays(*data))
        (ax, ay, az), (bx, by, bz) = xp.unstack(a, axis=axis), xp.unstack(b, axis=axis)
        return xp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=axis)

    def vector_norm(self, x: TracedArray, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> TracedArray:
        if ord != 2 or x.kind != "real":
            raise Untraceable("xp.linalg.vector_norm of another order than 2")
        graph = self._xp.graph
        return self._xp._reduce("linalg.vector_norm", x, axis, keepdims, lambda data: along("norm", data, graph))
