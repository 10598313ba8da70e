"""What was learned, as named arrays, put in the place of a first state's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]


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
