"""``TracedArray``: what stands for an array of the task's library while its code is traced."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from diffsim_core._traced._graph import Graph, Node, Untraceable


class TracedArray:
    """Expressions of one world, which stand for those of all worlds; or numbers that all worlds share.

    Args:
        graph: of the expressions.
        data: of them, an array of objects, without the axis of worlds.
        worlds: N for an array ``[N, *data.shape]``; None for one of shape ``data.shape`` that was made of numbers.
    """

    __array_ufunc__ = None  # NumPy's scalars leave arithmetic to the methods below

    def __init__(self, graph: Graph, data: Any, worlds: int | None) -> None:
        self.graph, self.data, self.worlds = graph, data, worlds

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape if self.worlds is None else (self.worlds, *self.data.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        return self.data.flat[0].kind if self.data.size else "real"

    @property
    def dtype(self) -> torch.dtype:
        known = {"mask": torch.bool, "int": torch.int64}
        return known.get(self.kind) or getattr(torch, self.graph.dtype)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def __len__(self) -> int:
        return self.shape[0]

    def like(self, data: Any) -> TracedArray:
        """An array of other expressions, with or without worlds as this one."""
        return TracedArray(self.graph, data, self.worlds)

    def map(self, function: Callable[[Node], Node]) -> TracedArray:
        """The array of ``function`` of each entry."""
        return self.like(each(function, self.data))

    def __getitem__(self, index: Any) -> TracedArray:
        parts = tuple(map(_index, index if isinstance(index, tuple) else (index,)))
        if self.worlds is not None:
            first = parts[0] if parts else slice(None)
            if first is Ellipsis:
                named = sum(part is not None for part in parts) - 1
                if named >= self.ndim:
                    raise Untraceable("selecting worlds")
            elif isinstance(first, slice) and first == slice(None):
                parts = parts[1:]
            else:
                raise Untraceable("selecting worlds" if first is not None else "a new axis before the worlds")
        return self.like(as_array(self.data[parts]))

    def __pos__(self) -> TracedArray:
        return self

    if TYPE_CHECKING:  # the operators are in _arithmetic

        def __mul__(self, other: Any) -> TracedArray: ...
        def __rtruediv__(self, other: Any) -> TracedArray: ...

        __add__ = __sub__ = __truediv__ = __mul__

    @property
    def mT(self) -> TracedArray:
        if self.data.ndim < 2:
            raise Untraceable("a transpose that moves the worlds")
        return self.like(np.swapaxes(self.data, -1, -2))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        name = getattr(function, "__name__", repr(function))
        if name.startswith("__"):
            raise Untraceable("arithmetic with a torch tensor that the task holds")
        raise Untraceable(f"torch.{name}")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise Untraceable("conversion to a NumPy array")

    def __bool__(self) -> NoReturn:
        raise Untraceable("a branch on a value (if, while, and, or, not)")

    def __float__(self) -> NoReturn:
        raise Untraceable("conversion to a Python number")

    __int__ = __index__ = __complex__ = __float__

    def __iter__(self) -> Any:
        if self.worlds is not None:
            raise Untraceable("a loop over worlds")
        return (self.like(as_array(part)) for part in self.data)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise Untraceable("a write in place (x[...] = y)")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # protocols of Python that are asked for by trying
        raise Untraceable(f"the method or attribute {name!r} of an array")


def _index(part: Any) -> Any:
    if isinstance(part, TracedArray) and part.kind == "int" and part.worlds is None:
        return np.array([node.value for node in part.data.flat], dtype=np.int64).reshape(part.data.shape)
    if isinstance(part, np.integer):
        return int(part)
    if isinstance(part, bool) or not isinstance(part, int | slice | list | type(None) | type(Ellipsis)):
        raise Untraceable(f"indexing with a {type(part).__name__}")
    return part


def each(function: Callable[..., Node], *data: Any) -> Any:
    """``function`` of the entries of arrays of objects, which broadcast."""
    return as_array(np.frompyfunc(function, len(data), 1)(*data))


def as_array(data: Any) -> Any:
    """An array of objects of one object."""
    if isinstance(data, np.ndarray):
        return data
    alone = np.empty((), dtype=object)
    alone[()] = data
    return alone
