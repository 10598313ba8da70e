"""States as named arrays, whatever the framework: whether they fit, and what was learned put in the place of others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]


def require_fit(arrays: Arrays, expected: Arrays) -> None:
    """Raise ``ValueError``, which names an array, unless both have the same names, shapes and dtypes."""
    if missing := sorted(expected.keys() - arrays.keys()):
        raise ValueError(f"array {missing[0]!r} is missing (and {len(missing) - 1} more)")
    if extra := sorted(arrays.keys() - expected.keys()):
        raise ValueError(f"array {extra[0]!r} does not belong to this run (and {len(extra) - 1} more)")
    for name, array in arrays.items():
        want = expected[name]
        if array.shape != want.shape or array.dtype != want.dtype:
            raise ValueError(
                f"array {name!r} is {array.dtype}{list(array.shape)}; this run needs {want.dtype}{list(want.shape)}"
            )


def carried_arrays(fresh: Arrays, source: Arrays, *, same: bool, also: Collection[str] = ()) -> dict[str, Any]:
    """``fresh`` with what ``source`` has learned: networks, their optimisers, statistics of observations.

    Args:
        fresh: of a first state in the new worlds.
        source: of a state of any algorithm and framework with the same networks.
        same: whether both are states of one algorithm; otherwise the actor and the statistics alone are taken.
        also: names of other arrays to take.

    Raises:
        ValueError: an array of ``source`` is missing or does not fit; the message names it.
    """

    def taken(name: str) -> bool:
        if name in also or name.startswith("run.stats."):
            return True
        return not name.startswith("run.") and (same or name == "actor")

    merged = dict(fresh)
    for name in filter(taken, fresh):
        found, wanted = (list(np.shape(arrays[name])) if name in arrays else None for arrays in (source, fresh))
        if found != wanted:
            has = "is missing where it was learned" if found is None else f"was learned with shape {found}"
            raise ValueError(
                f"{name} {has}, and these worlds and this configuration need {wanted}; their observations, actions and "
                "networks must be the same"
            )
        merged[name] = source[name].astype(fresh[name].dtype)
    return merged
