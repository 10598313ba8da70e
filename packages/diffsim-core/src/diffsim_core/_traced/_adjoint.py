"""Derivatives of expressions, in reverse."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from diffsim_core._traced._graph import Graph, Node
from diffsim_core._traced._ops import OPS, Build


def adjoint(graph: Graph, outputs: Sequence[Node], seeds: Sequence[Node], inputs: Sequence[Node]) -> list[Node | None]:
    """``sum_i seeds_i d outputs_i / d input`` for each input; None for those that no derivative reaches.

    An entry of an array that nothing reads gets a cotangent of zero where other entries of the array have one, as in
    the array library: the derivative of ``sqrt(x)[:, 0]`` is NaN where another entry of ``x`` is zero.

    Args:
        graph: of all these nodes.
        outputs: what is differentiated.
        seeds: its cotangents.
        inputs: with respect to what.
    """
    build = Build(graph)
    cotangents: dict[int, Node] = {}
    nodes: dict[int, Node] = {}
    waiting: list[int] = []
    done: set[int] = set()
    zero = graph.constant(0.0)

    def add(node: Node, by: Node) -> None:
        if node.op == "const" or node.kind != "real" or node.id in done:
            return
        old = cotangents.get(node.id)
        if old is None:
            nodes[node.id] = node
            heapq.heappush(waiting, -node.id)
        if old is None or old is zero:
            cotangents[node.id] = by
        elif by is not zero:
            cotangents[node.id] = build("+", old, by)
        if old is None:
            for companion in graph.companions(node):
                add(companion, zero)

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, seed)
    while waiting:  # arguments have lower numbers than what is made of them
        node = nodes[-heapq.heappop(waiting)]
        done.add(node.id)
        pull = OPS[node.op].pull if node.op in OPS else None
        if pull is None:
            continue
        for arg, by in zip(node.args, pull(build, cotangents[node.id], node), strict=True):
            if by is not None:
                add(arg, by)
    reached = [cotangents.get(node.id) for node in inputs]
    return [None if g is zero else g for g in reached]
