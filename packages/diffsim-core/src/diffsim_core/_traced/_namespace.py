"""``Namespace``: the array namespace ``xp`` that a task's functions are handed while they are traced.

It has as much of the array API standard as can be traced. Everything else raises ``Untraceable`` with its name.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch

from diffsim_core._traced._arithmetic import binary, lift, power, real, together, unary
from diffsim_core._traced._array import TracedArray, each
from diffsim_core._traced._graph import Graph, Node, Untraceable
from diffsim_core._traced._reductions import Reductions

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


class Namespace(Reductions):
    """See the module.

    Args:
        graph: of the expressions.
        worlds: number of worlds N.
    """

    __name__ = "diffsim_core._traced"
    pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None
    bool, float32, float64, int32, int64 = torch.bool, torch.float32, torch.float64, torch.int32, torch.int64

    def __init__(self, graph: Graph, worlds: int) -> None:
        super().__init__(graph, worlds)
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


class _Linalg:
    """``xp.linalg``."""

    def __init__(self, xp: Namespace) -> None:
        self.matmul, self.vecdot, self.cross, self.vector_norm = xp.matmul, xp.vecdot, xp.cross, xp.vector_norm

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"xp.linalg.{name}")


def _namespace_of(array: TracedArray, api_version: str | None = None) -> Namespace:
    if array.worlds is None:
        raise Untraceable("the namespace of a constant")
    return Namespace(array.graph, array.worlds)


TracedArray.__array_namespace__ = _namespace_of  # pyright: ignore[reportAttributeAccessIssue]
