"""``Start``: what a task's ``initial`` draws and returns, as expressions of the numbers drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core._traced._array import TracedArray
from diffsim_core._traced._graph import Graph, Node
from diffsim_core._traced._namespace import Namespace


@dataclass(frozen=True)
class Draw:
    """One call of ``uniform`` or ``normal``."""

    name: str
    """In the compiled code."""
    make: Callable[[Any], Any]
    """Draws the numbers ``[N, *shape]`` from a ``Random``."""
    shape: tuple[int, ...]
    nodes: tuple[Node, ...]


class TracedRandom:
    """Stands for ``Random`` while ``initial`` is traced; its numbers are inputs.

    Args:
        graph: of the expressions.
        worlds: N.
    """

    def __init__(self, graph: Graph, worlds: int) -> None:
        self._graph, self._xp = graph, Namespace(graph, worlds)
        self.num_envs = worlds
        self.draws: list[Draw] = []

    def uniform(self, stream: int, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0) -> TracedArray:
        """See ``Random``."""
        return self._drawn(lambda random: random.uniform(stream, shape, low, high), shape)

    def normal(self, stream: int, shape: tuple[int, ...] = ()) -> TracedArray:
        """See ``Random``."""
        return self._drawn(lambda random: random.normal(stream, shape), shape)

    def constant(self, value: Any) -> TracedArray:
        """See ``Random``."""
        if isinstance(value, np.ndarray):
            self._graph.read.append(value)
        numbers = self._xp.constants(np.asarray(value, dtype=self._graph.dtype))
        return TracedArray(self._graph, numbers.data, self.num_envs)

    def _drawn(self, make: Callable[[Any], Any], shape: tuple[int, ...]) -> TracedArray:
        name, shape = f"z{len(self.draws)}", tuple(shape)
        nodes = tuple(self._graph.input(name, i) for i in range(int(np.prod(shape, dtype=int))))
        self.draws.append(Draw(name, make, shape, nodes))
        data = np.empty(len(nodes), dtype=object)
        data[:] = nodes
        return TracedArray(self._graph, data.reshape(shape), self.num_envs)
