"""What the package's own helpers (``from_numpy``, ``stop_gradient``, ...) do with traced arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffsim_core._interop import register_arrays
from diffsim_core._traced._array import TracedArray
from diffsim_core._traced._graph import Graph, Node, Untraceable
from diffsim_core._traced._namespace import Namespace
from diffsim_core._tree import tree_map


class TracedLibrary:
    """The part of ``Backend`` that a task's functions can reach."""

    name = "traced"

    def from_numpy(self, values: Any, like: TracedArray) -> TracedArray:
        like.graph.read.append(values)
        return Namespace(like.graph, like.worlds or 1).constants(values, None)

    def stop_gradient(self, array: TracedArray) -> TracedArray:
        return array.map(_held)

    def no_grad(self, function: Callable[[], Any]) -> Any:
        return tree_map(self.stop_gradient, function())

    def contiguous(self, array: TracedArray) -> TracedArray:
        return array

    def clip_unit(self, array: TracedArray) -> TracedArray:
        return Namespace(array.graph, array.worlds or 1).clip(array, -1.0, 1.0)

    def is_traced(self, x: Any) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"{name} of an array")


def _held(node: Node) -> Node:
    graph: Graph = node.graph
    return graph.apply("held", node) if node.kind == "real" and node.op != "const" else node


LIBRARY: Any = TracedLibrary()
register_arrays(TracedArray, LIBRARY)
