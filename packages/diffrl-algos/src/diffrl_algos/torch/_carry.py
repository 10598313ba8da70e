"""What was learned, carried into other worlds or into another run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ._run_state import State
from ._state import Stored, leaves, map_leaves

StateT = TypeVar("StateT", bound=State)


def carried(fresh: StateT, source: State, *, going_on: bool) -> StateT:
    """``fresh`` with what ``source`` has learned: networks, their optimisers, statistics of observations.

    Of a state of another algorithm it takes the actor and the statistics alone. What belongs to the old
    worlds stays new: the rows of a replay buffer, and what a state keeps for each world.

    Args:
        fresh: a first state in the new worlds.
        source: a state of any algorithm with the same networks.
        going_on: carry the counters and the random generator too, as the same run in other worlds.

    Raises:
        ValueError: an array of ``source`` does not fit; the message names it.
    """
    same = type(source) is type(fresh)
    names = [field.name for field in dataclasses.fields(fresh) if field.name != "run"] if same else ["actor"]
    for name in names:
        if not hasattr(source, name) or not hasattr(fresh, name):
            raise ValueError(f"{type(source).__name__} and {type(fresh).__name__} do not both have {name!r}")
    new = {name: dict(leaves(getattr(fresh, name), name)) for name in names}
    old = {name: dict(leaves(getattr(source, name), name)) for name in names}
    changes = {}
    for name in names:
        own = (*fresh.per_world, *fresh.episodic)
        kept = {key for key, leaf in new[name].items() if isinstance(leaf, Stored) or key.startswith(own)}
        _compare(new[name], old[name], kept)
        values = iter([new[name][key] if key in kept else old[name][key] for key in new[name]])
        changes[name] = map_leaves(lambda _, __, values=values: next(values), getattr(fresh, name))
    _compare(dict(leaves(fresh.run.stats, "run.stats")), dict(leaves(source.run.stats, "run.stats")), set())
    run = {"stats": source.run.stats}
    if going_on:
        run |= {key: getattr(source.run, key) for key in ("rng", "iteration", "env_steps", "refused", "diverged")}
    return fresh.replace(run=fresh.run._replace(**run), **changes)


def _compare(new: Mapping[str, Any], old: Mapping[str, Any], kept: Collection[str]) -> None:
    """Raise ``ValueError`` for an array of ``old`` that does not fit in the place of the one in ``new``."""
    for key in [key for key in {**new, **old} if key not in kept]:
        found, wanted = (list(getattr(leaves.get(key), "shape", [])) for leaves in (old, new))
        if key not in new or key not in old or found != wanted:
            raise ValueError(
                f"{key} was learned with shape {found}, and these worlds and this configuration need {wanted}; their "
                "observations, actions and networks must be the same"
            )
