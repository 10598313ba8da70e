"""Diverged worlds on file: the state and action that led one out of the finite range, to see it happen again.

A file is an ``.npz`` of plain arrays with its metadata as JSON text; nothing in it is executed on loading.
"""

from __future__ import annotations

import functools
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core._finite import bad_observation
from diffsim_core._interop import from_numpy, to_numpy
from diffsim_core._protocol import PyTree, Trajectory
from diffsim_core._tree import tree_leaves, tree_map

_FORMAT = "diffsim-divergence-1"
_NUMBERS = ("seed", "world", "episode", "t")
_RENAMED = {"physics.params": "constants.params", "physics.drivers": "constants.drivers"}
"""Arrays of older files: constants were part of the physics state."""


@dataclass(frozen=True)
class Divergence:
    """One world, right before the step in which it diverged."""

    task: str
    """Name of the task."""
    seed: int
    """Seed that was given to ``reset``."""
    world: int
    """Number of the world, ``world_offset`` included."""
    episode: int
    t: int
    """Control steps since the episode began."""
    action: np.ndarray[Any, Any]
    """``[na]``, as the policy gave it."""
    state: dict[str, np.ndarray[Any, Any]]
    """Arrays of the state by name, without the world axis: ``physics.q``, ``physics.qd``, ..."""
    cause: str = ""
    """What was not finite before the simulator's step, in words; empty where it was nothing: the simulator diverged."""


def collect_divergences(env: Any, trajectory: Trajectory) -> list[Divergence]:
    """A record of each world's first divergence in a window; empty if there was none.

    ``trajectory.diverged.sum()`` counts all of them.
    """
    found = trajectory.divergences
    step = to_numpy(found.step)
    leaves = {name: to_numpy(leaf) for name, leaf in tree_leaves(_movable(found.state))}
    action, seed = to_numpy(found.action), int(to_numpy(found.state.seed))
    episode, t = to_numpy(found.state.episode), to_numpy(found.state.t)
    offset = getattr(env, "world_offset", 0)
    causes = _causes(env, found.state, leaves, action)
    return [
        Divergence(
            task=env.spec.name,
            seed=seed,
            world=offset + int(i),
            episode=int(episode[i]),
            t=int(t[i]),
            action=action[i],
            state={name: leaf[i] for name, leaf in leaves.items()},
            cause=causes(int(i)),
        )
        for i in np.flatnonzero(step >= 0)
    ]


def _causes(env: Any, state: Any, leaves: dict[str, Any], action: Any) -> Callable[[int], str]:
    """Tells for a world what was not finite already when the simulator got it: its state, observation or action."""
    task: Any = getattr(env, "task", None)
    xp = getattr(env, "xp", None)
    observed = functools.cache(lambda: task.observe(xp, state.physics, state.task))

    def one(i: int) -> str:
        spoilt = [name for name, leaf in leaves.items() if leaf.dtype.kind == "f" and not np.isfinite(leaf[i]).all()]
        if spoilt:
            return f"the state is not finite: {', '.join(spoilt)}"
        if task is None or np.isfinite(action[i]).all():
            return ""
        obs = tree_map(lambda leaf: leaf[i : i + 1], observed())
        bad = bad_observation(obs, env.spec.obs_names)
        return f"the observation is not finite: {bad}" if bad else "the action is not finite"

    return one


def save_divergences(path: str | os.PathLike[str], divergences: Sequence[Divergence]) -> Path:
    """Write records to ``path`` (``.npz``), all or nothing; returns the path.

    Raises:
        ValueError: if there is no record to save.
        OSError: if the file cannot be written.
    """
    if not divergences:
        raise ValueError("no divergence to save")
    path = Path(path)
    about = [
        {**{name: getattr(one, name) for name in ("task", *_NUMBERS, "cause")}, "state": list(one.state)}
        for one in divergences
    ]
    arrays = {"meta": np.asarray(json.dumps({"format": _FORMAT, "records": about}))}
    for i, one in enumerate(divergences):
        arrays[f"{i}/action"] = one.action
        arrays |= {f"{i}/state/{name}": leaf for name, leaf in one.state.items()}
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load_divergences(path: str | os.PathLike[str]) -> list[Divergence]:
    """Read what ``save_divergences`` wrote.

    Raises:
        ValueError: if the file is something else or damaged; nothing in it is executed.
        OSError: if the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            if meta["format"] != _FORMAT:
                raise ValueError(f"format {meta['format']!r}, expected {_FORMAT!r}")
            return [
                Divergence(
                    task=str(one["task"]),
                    **{name: int(one[name]) for name in _NUMBERS},
                    action=file[f"{i}/action"],
                    state={_RENAMED.get(str(name), str(name)): file[f"{i}/state/{name}"] for name in one["state"]},
                    cause=str(one.get("cause", "")),
                )
                for i, one in enumerate(meta["records"])
            ]
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a file of divergences, or is damaged: {error}") from error


def replay(env: Any, divergences: Sequence[Divergence]) -> np.ndarray[Any, Any]:
    """Take the recorded steps again, ``num_envs`` at a time: bool array, true where the world diverged again.

    Raises:
        ValueError: if a record is of another task, or its arrays do not fit the environment.
    """
    state, _ = env.reset(0)
    again: list[bool] = []
    for start in range(0, len(divergences), env.num_envs):
        some = list(divergences[start : start + env.num_envs])
        filled = some + [some[0]] * (env.num_envs - len(some))
        loaded = _state_of(env, state, filled)
        action = from_numpy(np.stack([one.action for one in filled]), state.t)
        _, transition = env.step(loaded, action)
        again += [bool(flag) for flag in to_numpy(transition.diverged)[: len(some)]]
    return np.asarray(again)


def _state_of(env: Any, state: Any, records: Sequence[Divergence]) -> Any:
    """``state`` with the worlds' arrays replaced by the recorded ones."""
    wanted = {name: tuple(leaf.shape[1:]) for name, leaf in tree_leaves(_movable(state))}
    for one in records:
        if one.task != env.spec.name:
            raise ValueError(f"the record is of task {one.task!r}, the environment is {env.spec.name!r}")
        found = {name: leaf.shape for name, leaf in one.state.items()}
        if found != wanted or one.action.shape != (env.spec.num_actions,):
            raise ValueError(f"the record of world {one.world} has state arrays {found}, the environment has {wanted}")
    names = iter([name for name, _ in tree_leaves(_movable(state))])

    def fill(leaf: Any) -> Any:
        name = next(names)
        return from_numpy(np.stack([one.state[name] for one in records]), leaf)

    filled = tree_map(fill, _movable(state))
    return state._replace(**filled)


def _movable(state: Any) -> PyTree:
    """The part of a state that moves from one environment to another, in the order records keep."""
    return {"physics": state.physics, "task": state.task, "t": state.t, "constants": state.constants}
