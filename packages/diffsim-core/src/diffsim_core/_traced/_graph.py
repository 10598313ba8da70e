"""``Graph``: expressions of one world's numbers, each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from diffsim_core._traced._ops import OPS


class Untraceable(BaseException):
    """What a task does cannot be traced; the message names the operation.

    It derives from ``BaseException``, because a task that catches ``Exception`` must not hide it.
    """


class Node:
    """An expression: an operation on other expressions, a constant (``"const"``) or an input (``"input"``).

    Two nodes of a graph with equal contents are one object.
    """

    __slots__ = ("args", "graph", "id", "kind", "op", "value")

    def __init__(self, graph: Graph, op: str, args: tuple[Node, ...], value: Any, kind: str, number: int) -> None:
        self.graph, self.op, self.args, self.value, self.kind, self.id = graph, op, args, value, kind, number


class Graph:
    """All expressions of one trace.

    ``kind`` of a node is ``"real"``, ``"mask"``, ``"int"`` (of constants alone) or ``"opaque"`` (handed on unseen).

    Constants are rounded to the task's number type, and operations on constants are done in it, as the array library
    would do them. Nothing else is simplified that could change a result: ``0 x`` stays, because ``x`` may be infinite.

    Args:
        dtype: ``"float32"`` or ``"float64"``.
        most: nodes above which a task is too large to be compiled.
    """

    def __init__(self, dtype: str, most: int) -> None:
        self.dtype = dtype
        self.scalar: Any = np.dtype(dtype).type
        self.most = most
        self.read: list[Any] = []
        """NumPy arrays of the task whose numbers became constants."""
        self._table: dict[Any, Node] = {}
        self._arrays: list[tuple[Node, ...]] = []
        self._finite: dict[int, bool] = {}

    def together(self, data: Any) -> Any:
        """Entries of one array, which get cotangents together: zeros where others get numbers, as in the array library.

        Equal arrays that were computed twice stay apart in this, so each entry gets a name of its own here.
        """
        if data.size < 2:
            return data
        number = len(self._arrays)
        nodes = [
            node if node.op == "const" or node.kind != "real" else self._node("alias", (node,), number, "real")
            for node in data.flat
        ]
        self._arrays.append(tuple(node for node in nodes if node.op == "alias" and node.value == number))
        named = np.empty(data.shape, dtype=object)
        named.reshape(-1)[:] = nodes
        return named

    def companions(self, node: Node) -> tuple[Node, ...]:
        """All entries of the array that this one is an entry of."""
        return self._arrays[node.value] if node.op == "alias" else ()

    def begin(self) -> None:
        """Trace anew: what is done again in the same order makes the same nodes."""
        self._arrays.clear()

    def finite(self, node: Node) -> bool:
        """Whether a number is finite for finite inputs, but for overflow."""
        if node.op == "const":
            return node.kind != "real" or bool(np.isfinite(node.value))
        known = self._finite.get(node.id)
        if known is None:
            known = node.op == "input" or (OPS[node.op].tame and all(map(self.finite, node.args)))
            self._finite[node.id] = known
        return known

    def __len__(self) -> int:
        return len(self._table)

    def input(self, name: str, index: int, kind: str = "real") -> Node:
        """Entry ``index`` of the array ``name`` in a world."""
        return self._node("input", (), (name, index), kind)

    def constant(self, value: Any) -> Node:
        """A number, or a truth, that is the same in all worlds and steps."""
        if isinstance(value, bool | np.bool_):
            return self._node("const", (), bool(value), "mask")
        return self._node("const", (), self.scalar(value), "real")

    def integer(self, value: int) -> Node:
        """An integer that selects or counts; there is no arithmetic with it."""
        return self._node("const", (), int(value), "int")

    def apply(self, op: str, *args: Node) -> Node:
        """The operation of that name in ``OPS``."""
        known = OPS[op]
        if any(arg.kind == "opaque" for arg in args):
            raise Untraceable("arithmetic with memory that is not of the task's number type")
        values = [arg.value if arg.op == "const" else None for arg in args]
        if known.fold is not None and None not in values:
            with np.errstate(all="ignore"):
                return self.constant(known.fold(*values))
        if (same := _unchanged(op, args, values)) is not None:
            return same
        return self._node(op, args, None, known.kind)

    def _node(self, op: str, args: tuple[Node, ...], value: Any, kind: str) -> Node:
        # bits tell 0.0 from -0.0, and find a NaN again
        bits = value.tobytes() if isinstance(value, np.floating) else value
        key = (op, kind, bits, *(arg.id for arg in args))
        found = self._table.get(key)
        if found is None:
            if len(self._table) >= self.most:
                raise Untraceable(f"more than {self.most} operations")
            found = self._table[key] = Node(self, op, args, value, kind, len(self._table))
        return found


def _unchanged(op: str, args: tuple[Node, ...], values: list[Any]) -> Node | None:
    """The argument that the operation returns as it is, whatever its value, to the bit."""
    if op == "*" and values[0] == 1:
        return args[1]
    if op in ("*", "/") and values[1] == 1:
        return args[0]
    if op == "-" and values[1] == 0 and not np.signbit(values[1]):
        return args[0]
    if op == "neg" and args[0].op == "neg":
        return args[0].args[0]
    if op in ("where", "where_mask") and (values[0] is not None or args[1] is args[2]):
        return args[1] if values[0] in (None, True) else args[2]
    return None


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """All nodes that the outputs are made of, each after its arguments."""
    seen: set[int] = set()
    order: list[Node] = []
    waiting = [(node, False) for node in reversed(list(outputs))]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.append(node)
        elif node.id not in seen:
            seen.add(node.id)
            waiting.append((node, True))
            waiting.extend((arg, False) for arg in reversed(node.args))
    return order
