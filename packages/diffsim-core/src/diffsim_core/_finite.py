"""Which entries of an observation are not finite, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffsim_core._interop import to_numpy
from diffsim_core._tree import tree_leaves

_MOST = 5
"""Entries named in a message."""


def bad_entries(values: Any, names: Sequence[str] = ()) -> str:
    """``entry 3 (elbow velocity [rad/s]), entry 7``; empty if all of ``values [N, ...]`` are finite, or one per world.

    Args:
        values: numbers, worlds first.
        names: of the entries of a vector, or none.
    """
    array = np.asarray(values)
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=0)
    if array.ndim == 1 or not bad.any():
        return ""
    named = list(names) if array.ndim == 2 and len(names) == array.shape[1] else [""] * bad.size
    found = []
    for entry in np.flatnonzero(bad)[:_MOST]:
        place = ", ".join(str(int(i)) for i in np.unravel_index(entry, array.shape[1:]))
        found.append(f"entry {place}" + (f" ({named[entry]})" if named[entry] else ""))
    return ", ".join(found) + (f" and {int(bad.sum()) - _MOST} more" if bad.sum() > _MOST else "")


def bad_observation(obs: Any, names: Sequence[str]) -> str:
    """As ``bad_entries``, for an observation, which may be a mapping of arrays: ``points: entry 3, 0``."""
    leaves = [(name, bad_entries(to_numpy(leaf), names)) for name, leaf in tree_leaves(obs)]
    return "; ".join(f"{name}: {entries}" if name else entries for name, entries in leaves if entries)
