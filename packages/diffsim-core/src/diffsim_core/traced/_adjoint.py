"""Derivatives of expressions, in reverse."""

from __future__ import annotations

from collections.abc import Sequence

from diffsim_core.traced._graph import Graph, Node, in_order
from diffsim_core.traced._ops import OPS, Build


def adjoint(graph: Graph, outputs: Sequence[Node], seeds: Sequence[Node], inputs: Sequence[Node]) -> list[Node | None]:
    """``sum_i seeds_i d outputs_i / d input`` for each input; None for those that no derivative reaches.

    Args:
        graph: of all these nodes.
        outputs: what is differentiated.
        seeds: its cotangents.
        inputs: with respect to what.
    """
    build = Build(graph)
    cotangents: dict[int, Node] = {}

    def add(node: Node, by: Node) -> None:
        if node.op != "const" and node.kind == "real":
            old = cotangents.get(node.id)
            cotangents[node.id] = by if old is None else build("+", old, by)

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, seed)
    for node in reversed(in_order(outputs)):
        g = cotangents.get(node.id)
        pull = OPS[node.op].pull if node.op in OPS else None
        if g is None or pull is None:
            continue
        for arg, by in zip(node.args, pull(build, g, node), strict=True):
            if by is not None:
                add(arg, by)
    return [cotangents.get(node.id) for node in inputs]
