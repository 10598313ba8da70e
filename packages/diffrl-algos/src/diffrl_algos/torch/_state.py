"""States as trees of tensors: cut gradients, flatten to named arrays, rebuild."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .._arrays import require_fit
from . import _distributed as distributed
from ._run_state import State


class Stored(ABC):
    """A part of a state that says itself which arrays it is, because their shapes change: a replay buffer."""

    @abstractmethod
    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named arrays."""

    @abstractmethod
    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """What ``arrays`` hold, in the place of this; ``ValueError`` names an array that does not fit."""


def map_leaves(fn: Callable[[str, Any], Any], tree: Any, name: str = "") -> Any:
    """Apply ``fn(name, leaf)`` to every tensor, int and ``Stored`` of (named) tuples, lists and mappings.

    The structure is kept. Names are joined by dots: ``env_state.physics.q``. Anything else (an environment, None) is
    kept too.
    """
    if isinstance(tree, Tensor | Stored) or type(tree) is int:
        return fn(name, tree)
    if isinstance(tree, State):
        names = [field.name for field in dataclasses.fields(tree)]
        return type(tree)(**{k: map_leaves(fn, getattr(tree, k), f"{name}.{k}" if name else k) for k in names})
    if isinstance(tree, tuple):
        fields = getattr(tree, "_fields", range(len(tree)))
        parts = [
            map_leaves(fn, part, f"{name}.{key}" if name else str(key)) for key, part in zip(fields, tree, strict=True)
        ]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [map_leaves(fn, part, f"{name}.{k}" if name else str(k)) for k, part in enumerate(tree)]
    if isinstance(tree, Mapping):
        return {key: map_leaves(fn, part, f"{name}.{key}" if name else str(key)) for key, part in tree.items()}
    return tree


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """``(name, leaf)`` of every tensor, int and ``Stored``, in order; their names begin with ``name``."""
    found: list[tuple[str, Any]] = []
    map_leaves(lambda key, leaf: found.append((key, leaf)), tree, name)
    return iter(found)


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Named arrays of a state; ints become int64 scalars. Several processes give those of one with all worlds."""
    return _to_arrays(dict(leaves(state)), _per_world(state))


def _to_arrays(parts: Mapping[str, Any], per_world: Collection[str]) -> dict[str, np.ndarray]:
    """Arrays of leaves; those of the fields ``per_world`` are gathered from all processes."""
    found = {
        name: leaf if isinstance(leaf, Tensor) else torch.tensor(leaf)
        for name, leaf in parts.items()
        if not isinstance(leaf, Stored)
    }
    split = {name for name, leaf in found.items() if _is_per_world(name, leaf, per_world)}
    distributed.check_same({name: leaf for name, leaf in found.items() if name not in split})
    arrays = {
        name: (distributed.worlds(leaf, 0) if name in split else leaf).detach().cpu().numpy()
        for name, leaf in found.items()
    }
    stored = {name: leaf.to_arrays() for name, leaf in parts.items() if isinstance(leaf, Stored)}
    return arrays | {f"{name}.{key}": array for name, own in stored.items() for key, array in own.items()}


def _per_world(state: Any) -> tuple[str, ...]:
    """Fields with an entry for each world of this process."""
    return ("run.obs", "run.env_state", "obs", "env_state", *getattr(state, "per_world", ()))


def _is_per_world(name: str, leaf: Any, per_world: Collection[str]) -> bool:
    """Whether an array has an entry for each world of this process, so that a checkpoint gathers it."""
    return leaf.ndim > 0 and any(name == field or name.startswith(f"{field}.") for field in per_world)


def from_arrays(state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of ``to_arrays``, on the devices and with the structure of ``state``.

    Raises:
        ValueError: names, shapes or dtypes differ from those of ``state``.
    """
    stored = {name: leaf for name, leaf in leaves(state) if isinstance(leaf, Stored)}
    theirs = {
        name: {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
        for name in stored
    }
    arrays = {key: array for key, array in arrays.items() if not key.startswith(tuple(f"{name}." for name in stored))}
    per_world = _per_world(state)
    expected = _to_arrays({n: leaf for n, leaf in leaves(state) if not isinstance(leaf, Stored)}, per_world)
    require_fit(arrays, expected)

    def rebuild(name: str, leaf: Any) -> Any:
        if isinstance(leaf, Stored):
            return leaf.from_arrays(theirs[name])
        if isinstance(leaf, Tensor):
            whole = torch.from_numpy(arrays[name].copy())
            return (distributed.mine(whole, 0) if _is_per_world(name, leaf, per_world) else whole).to(leaf.device)
        return int(arrays[name])

    return map_leaves(rebuild, state)
