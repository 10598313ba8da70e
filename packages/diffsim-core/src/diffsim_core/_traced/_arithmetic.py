"""Arithmetic of traced arrays: broadcasting, which keeps worlds apart, and Python's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch

from diffsim_core._traced._array import TracedArray, as_array, each
from diffsim_core._traced._graph import Graph, Node, Untraceable

_NUMBERS = (int, float, np.integer, np.floating)


def lift(value: Any, graph: Graph) -> TracedArray:
    """A number as an array, and an array as it is."""
    if isinstance(value, TracedArray):
        if value.graph is not graph:
            raise Untraceable("an array that the task kept from an earlier step")
        return value
    if isinstance(value, (bool, np.bool_, *_NUMBERS)):
        number = value if isinstance(value, bool | np.bool_) else float(value)
        return TracedArray(graph, as_array(graph.constant(number)), None)
    if isinstance(value, torch.Tensor):
        raise Untraceable("arithmetic with a torch tensor that the task holds")
    raise Untraceable(f"arithmetic with a {type(value).__module__}.{type(value).__qualname__}")


def _graph_of(values: tuple[Any, ...]) -> Graph:
    return next(value.graph for value in values if isinstance(value, TracedArray))


def together(*values: Any) -> tuple[list[Any], int | None]:
    """Data of arrays and numbers that broadcast against each other, and the number of worlds of the result."""
    arrays = [lift(value, _graph_of(values)) for value in values]
    batched = [array for array in arrays if array.worlds is not None]
    if not batched:
        return [array.data for array in arrays], None
    worlds, rank = batched[0].worlds, max(array.ndim for array in arrays)
    if len({array.ndim for array in batched}) > 1 or batched[0].ndim < rank:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise Untraceable(f"broadcasting worlds against other axes, {shapes}")
    return [array.data if array.worlds is not None else shared(array, rank) for array in arrays], worlds


def shared(array: TracedArray, rank: int) -> Any:
    """Data in each world of an array that has no worlds, next to arrays ``[N, ...]`` of ``rank`` axes.

    Raises:
        Untraceable: if its numbers differ from world to world.
    """
    if array.ndim < rank:
        return array.data
    first = array.data[:1]
    if array.data.shape[0] > 1 and (array.data != first).any():
        raise Untraceable("numbers that differ from world to world")
    return first[0] if isinstance(first[0], np.ndarray) else as_array(first[0])


def unary(op: str, x: TracedArray) -> TracedArray:
    """``op`` of each entry; a truth counts as 0 or 1, except for ``not``."""
    graph = x.graph
    _check_kind(op, x)
    made = x.map(lambda node: graph.apply(op, node if op == "not" else real(node)))
    return made.like(graph.together(made.data))


def _check_kind(op: str, *arrays: TracedArray) -> None:
    for array in arrays:
        if array.kind == "int":
            raise Untraceable(f"{op} of integers")
        if op in ("and", "or", "xor", "not") and array.kind != "mask":
            raise Untraceable(f"{op} of numbers that are not truths")


def binary(op: str, x: Any, y: Any) -> TracedArray:
    """``op`` of entries that broadcast."""
    graph = _graph_of((x, y))
    _check_kind(op, *(lift(value, graph) for value in (x, y)))
    data, worlds = together(x, y)
    logical = op in ("and", "or", "xor")
    turn: Callable[[Node], Node] = (lambda node: node) if logical else real
    return TracedArray(graph, graph.together(each(lambda a, b: graph.apply(op, turn(a), turn(b)), *data)), worlds)


def real(node: Node) -> Node:
    """A truth as 0 or 1; a number as it is."""
    if node.kind == "mask":
        graph = node.graph
        return graph.apply("where", node, graph.constant(1.0), graph.constant(0.0))
    return node


def power(base: Any, exponent: Any) -> TracedArray:
    """``base ** exponent``; small powers are products, as the array library computes them."""
    if isinstance(exponent, _NUMBERS) and not isinstance(exponent, bool) and isinstance(base, TracedArray):
        x = base.map(real)
        if exponent in (2, 3):
            product = x
            for _ in range(int(exponent) - 1):
                product = product * x
            return product
        if exponent == 0.5:
            return unary("sqrt", x)
        if exponent == -0.5:
            return unary("rsqrt", x)
        if exponent == -1:
            return 1.0 / x
    return binary("pow", base, exponent)


def matmul(x: Any, y: Any) -> TracedArray:
    """Matrix products of each world's numbers, or with a matrix that all worlds share."""
    graph = _graph_of((x, y))
    a, b = lift(x, graph), lift(y, graph)
    _check_kind("@", a, b)
    if a.worlds is None and b.worlds is None:
        raise Untraceable("a product of constant matrices")
    # a row for each world times a shared matrix is a vector times a matrix in each world
    rows = a.worlds is not None and b.worlds is None and a.data.ndim == 1 and b.data.ndim in (1, 2)
    stacks = all(part.worlds is None or part.data.ndim >= 2 for part in (a, b)) and min(a.data.ndim, b.data.ndim) >= 2
    ranks = [part.ndim for part in (a, b) if part.worlds is not None]
    fixed = [part.ndim for part in (a, b) if part.worlds is None]
    if not (rows or stacks) or len(set(ranks)) > 1 or (stacks and max(fixed, default=0) >= ranks[0]):
        raise Untraceable(f"a matrix product of shapes {a.shape} and {b.shape}")
    left = a.data[None, :] if rows else a.data
    vector = b.data.ndim == 1
    right = b.data[:, None] if vector else b.data
    products = each(lambda p, q: graph.apply("*", real(p), real(q)), left[..., :, :, None], right[..., None, :, :])
    total = add_up(products, -2, graph)
    if rows:
        total = total[0]
    result = as_array(total[..., 0] if vector else total)
    return TracedArray(graph, graph.together(result), a.worlds or b.worlds)


def along(op: str, data: Any, graph: Graph) -> Any:
    """An operation of any number of arguments along the first axis."""
    result = np.empty(data.shape[1:], dtype=object)
    for index in np.ndindex(result.shape):
        result[index] = graph.apply(op, *data[(slice(None), *index)])
    return result


def add_up(data: Any, axis: int, graph: Graph) -> Any:
    """Sums along an axis, from first to last."""
    parts = np.moveaxis(data, axis, 0)
    if not len(parts):
        return each(lambda _: graph.constant(0.0), np.zeros(parts.shape[1:], dtype=object))
    total = parts[0]
    for part in parts[1:]:
        total = each(lambda a, b: graph.apply("+", a, b), total, part)
    return as_array(total)


def _in_place(symbol: str) -> Callable[..., Any]:
    def refuse(self: TracedArray, other: Any) -> NoReturn:
        raise Untraceable(f"a write in place (x {symbol} y)")

    return refuse


def _infix(op: str, swapped: bool = False) -> Callable[..., Any]:
    def method(self: TracedArray, other: Any) -> Any:
        return binary(op, other, self) if swapped else binary(op, self, other)

    return method


_ALONE = {"neg": "neg", "abs": "abs", "invert": "not"}
for _name, _op in _ALONE.items():
    setattr(TracedArray, f"__{_name}__", lambda self, op=_op: unary(op, self))
for _name, _function in {"pow": power, "matmul": matmul}.items():
    setattr(TracedArray, f"__{_name}__", lambda self, other, function=_function: function(self, other))
    setattr(TracedArray, f"__r{_name}__", lambda self, other, function=_function: function(other, self))
_INFIX = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "and": "and", "or": "or", "xor": "xor"}
for _name, _op in _INFIX.items():
    setattr(TracedArray, f"__{_name}__", _infix(_op))
    setattr(TracedArray, f"__r{_name}__", _infix(_op, swapped=True))
for _name, _op in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(TracedArray, f"__{_name}__", _infix(_op))
TracedArray.__hash__ = object.__hash__  # pyright: ignore[reportAttributeAccessIssue]
_ASSIGNED = {"add": "+=", "sub": "-=", "mul": "*=", "truediv": "/=", "pow": "**=", "and": "&=", "or": "|=", "xor": "^="}
for _name, _symbol in (_ASSIGNED | {"floordiv": "//=", "mod": "%=", "matmul": "@="}).items():
    setattr(TracedArray, f"__i{_name}__", _in_place(_symbol))
for _name in ("floordiv", "mod", "divmod", "lshift", "rshift"):
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(TracedArray, _form, lambda self, other, name=_name: _refused(name))


def _refused(name: str) -> NoReturn:
    raise Untraceable({"floordiv": "x // y", "mod": "x % y"}.get(name, name))
