"""Trees of arrays: named tuples, tuples, lists and mappings, the containers of torch and JAX code here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

PyTree = Any


def tree_map(function: Callable[..., Any], tree: PyTree, *rest: PyTree) -> PyTree:
    """Apply ``function`` to corresponding leaves of trees of the same structure; the result has that structure."""
    if isinstance(tree, tuple):
        leaves = [tree_map(function, *parts) for parts in zip(tree, *rest, strict=True)]
        return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)
    if isinstance(tree, list):
        return [tree_map(function, *parts) for parts in zip(tree, *rest, strict=True)]
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value, *(other[key] for other in rest)) for key, value in tree.items()}
    if tree is None:
        return None
    return function(tree, *rest)


def tree_leaves(tree: PyTree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with their dotted names (``physics.q``), in a fixed order."""
    if isinstance(tree, tuple | list):
        names = getattr(tree, "_fields", None) or [str(i) for i in range(len(tree))]
        parts = zip(names, tree, strict=True)
    elif isinstance(tree, Mapping):
        parts = iter(tree.items())
    elif tree is None:
        return
    else:
        yield prefix, tree
        return
    for name, part in parts:
        yield from tree_leaves(part, f"{prefix}.{name}" if prefix else str(name))
