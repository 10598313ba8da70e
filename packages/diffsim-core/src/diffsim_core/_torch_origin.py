"""Which torch operation makes a gradient not finite, and the line that called it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from diffsim_core._raised import is_users
from diffsim_core._tree import tree_leaves


def torch_origin(function: Callable[[Any], torch.Tensor], tree: Any) -> str:
    """``: sqrt in robot.py, line 40`` for the first derivative of a scalar function that is not finite; else empty.

    Args:
        function: of ``tree``.
        tree: leaves that require a gradient.
    """
    found: list[Any] = []

    def watch(node: Any) -> None:
        def look(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            if not found and _finite(outputs) and not _finite(inputs):
                found.append(node)

        node.register_hook(look)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that anomaly detection is slow
        anomalies = torch.autograd.detect_anomaly(check_nan=False)
    with anomalies:
        value = function(tree)
        nodes = _nodes(value.grad_fn)
        for node in nodes:
            watch(node)
        torch.autograd.grad(value, [leaf for _, leaf in tree_leaves(tree)], allow_unused=True)
    if not found:
        return ""
    operation = re.sub(r"Backward\d*$", "", found[0].name()).lower()
    frames = re.findall(r'File "([^"]+)", line (\d+)', "".join(found[0].metadata.get("traceback_", [])))
    lines = [f" in {Path(file).name}, line {line}" for file, line in frames if is_users(file)]
    return f": {operation}{lines[-1] if lines else ''}"


def _nodes(root: Any) -> list[Any]:
    """All nodes of a graph."""
    found, todo = [], [root]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.append(node)
        todo.extend(before for before, _ in node.next_functions)
    return found


def _finite(tensors: tuple[Any, ...]) -> bool:
    return all(tensor is None or bool(tensor.isfinite().all()) for tensor in tensors)
