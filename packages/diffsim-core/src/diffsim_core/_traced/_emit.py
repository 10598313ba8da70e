"""Expressions as C++ statements on lanes of worlds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from diffsim_core._traced._graph import Node, in_order
from diffsim_core._traced._ops import OPS

_JOINT = {"max": "larger", "min": "smaller"}


def statements(outputs: Sequence[Node], places: Sequence[str], keep: str = "{0} = {1};") -> list[str]:
    """C++ that computes the outputs; inputs are entries of local arrays, ``q0_[3]``.

    Args:
        outputs: what to compute.
        places: where each of them goes.
        keep: the statement that puts it there, with ``{0}`` for the place and ``{1}`` for the expression.
    """
    lines: list[str] = []
    names: dict[int, str] = {}
    angles: set[int] = set()
    for node in in_order(outputs):
        if node.op == "const":
            names[node.id] = literal(node)
        elif node.op == "input":
            name, index = node.value
            names[node.id] = f"{name}_[{index}]"
        else:
            args = [names[arg.id] for arg in node.args]
            if node.op == "alias":
                names[node.id] = args[0]
                continue
            name = names[node.id] = f"t{node.id}"
            if node.op in ("sin", "cos"):
                of = node.args[0].id
                if of not in angles:
                    angles.add(of)
                    lines.append(f"R sin{of}, cos{of}; sin_cos({args[0]}, sin{of}, cos{of});")
                names[node.id] = f"{node.op}{of}"
            else:
                kind = "Mask" if node.kind == "mask" else "R"
                lines.append(f"{kind} {name} = {_expression(node, args)};")
    return [*lines, *(keep.format(place, names[node.id]) for place, node in zip(places, outputs, strict=True))]


def _expression(node: Node, args: list[str]) -> str:
    if node.op in _JOINT:
        joined = args[0]
        for arg in args[1:]:
            joined = f"{_JOINT[node.op]}({joined}, {arg})"
        return joined
    if node.op == "norm":
        return f"sqrt_({' + '.join(f'{arg} * {arg}' for arg in args)})"
    return OPS[node.op].code.format(*args)


def literal(node: Node) -> str:
    """A constant."""
    if node.kind == "mask":
        return f"truth({'true' if node.value else 'false'})"
    return f"number(T({_written(node.value)}))"


def _written(value: Any) -> str:
    if math.isnan(value):
        return "DS_NAN"
    if math.isinf(value):
        return "DS_INFINITY" if value > 0 else "-DS_INFINITY"
    return repr(float(value))
