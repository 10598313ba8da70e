"""Runs that begin with what another run has learned: its policy, or everything, with a larger budget."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ._algorithm import Policy
from ._arrays import carried_arrays
from ._checkpoint import Manifest
from ._errors import CheckpointError, UsageError
from ._fields import flag, spelled
from ._run import Run
from ._spec import RunSpec, Start
from ._states import begin, restore
from ._train import Budget


def load_policy(run: str | Path, *, which: str = "last", deterministic: bool = True, seed: int = 0) -> Policy:
    """The policy of a run, as ``diffrl eval`` and ``diffrl play`` use it.

    A task or an algorithm of your own must be registered first: import the file that does it.

    Args:
        run: run folder.
        which: ``"last"``, ``"best"`` or an iteration.
        deterministic: the mean action, not a sample.
        seed: names the random numbers of a policy that samples.

    Returns:
        Observations ``[N, no]`` of any number of worlds, as the environment gives them, to actions ``[N, na]``.

    Raises:
        RunError: ``run`` is no run folder, or the checkpoint is missing or damaged.
        UsageError: the task or the algorithm of the run is not known.
    """
    opened = Run.open(Path(run))
    state, _ = restore(opened, which)
    return opened.spec.build().policy(state, deterministic=deterministic, seed=seed)


def starting_from(spec: RunSpec, run: str | Path, which: str = "last") -> RunSpec:
    """``spec`` with its beginning in the policy of another run: a warm start.

    Networks, their optimisers and the statistics of observations are taken over; of another algorithm's run, the actor
    and the statistics. Counters, schedules and worlds are those of a new run.

    Raises:
        RunError: ``run`` is no run folder, or the checkpoint is missing or damaged.
    """
    start, _ = _start(Run.open(Path(run)), which, whole=False)
    return dataclasses.replace(spec, start=start)


def extended(run: str | Path, budget: Budget) -> RunSpec:
    """The description of a run that goes on from the last checkpoint of ``run`` to a larger budget.

    Where the budget counts updates, ``config.iterations`` becomes that number: the learning rates go on as in a run of
    that length from the beginning.

    Raises:
        RunError: ``run`` is no run folder, or its last checkpoint is missing or damaged.
        UsageError: the budget is used up already.
    """
    opened = Run.open(Path(run))
    start, manifest = _start(opened, "last", whole=True)
    budget.require_rest(str(run), manifest.iteration, manifest.env_steps, manifest.wall_s)
    config = opened.spec.config
    if budget.iterations is not None:
        config = dataclasses.replace(config, iterations=budget.iterations)
    return dataclasses.replace(opened.spec, budget=budget, config=config, start=start)


def started(spec: RunSpec) -> tuple[Any, float, float | None, Run | None]:
    """First state of a run, its training time [s] and last score so far, and the run whose records go on in it.

    Raises:
        RunError: the run that it begins with is missing, or its checkpoint has changed.
        UsageError: what was learned does not fit.
    """
    if spec.start is None:
        return begin(spec), 0.0, None, None
    source = Run.open(Path(spec.start.run))
    state, manifest = restore(source, spec.start.checkpoint, whole=spec.start.whole)
    if manifest.tensors_sha256 != spec.start.sha256:
        raise CheckpointError(f"{source.path}: checkpoint {spec.start.checkpoint} has changed since this run was made")
    if spec.start.whole:
        return state, manifest.wall_s, manifest.return_mean, source
    algorithm = spec.build()
    if source.spec.entry.arrays != spec.entry.arrays:
        return _translated(spec, source, state), 0.0, None, None
    if not hasattr(algorithm, "carry"):
        raise UsageError(f"{spec.algorithm} has no method carry(state, env, seed), which a warm start needs")
    try:
        _require_same_networks(spec.config, source.spec.config)
        return algorithm.carry(state, spec.make_env(), spec.seed, going_on=False), 0.0, None, None
    except ValueError as error:
        raise UsageError(f"{spec.algorithm} cannot begin with the policy of {source.path}: {error}") from None


def _translated(spec: RunSpec, source: Run, state: Any) -> Any:
    """A first state with what ``source`` has learned in another framework: the arrays mean the same in both."""
    algorithm, theirs = spec.build(), source.spec.build()
    try:
        _require_same_networks(spec.config, source.spec.config)
        fresh = algorithm.init(spec.make_env(), spec.seed)
        same = spec.algorithm == source.spec.algorithm
        arrays = carried_arrays(algorithm.to_arrays(fresh), theirs.to_arrays(state), same=same)
        return algorithm.from_arrays(fresh, arrays)
    except ValueError as error:
        raise UsageError(f"{spec.algorithm} cannot begin with the policy of {source.path}: {error}") from None


def _start(run: Run, which: str, *, whole: bool) -> tuple[Start, Manifest]:
    _, manifest = run.load(which, whole=whole)
    name = f"{manifest.iteration:08d}"
    return Start(run=str(run.path.resolve()), checkpoint=name, sha256=manifest.tensors_sha256, whole=whole), manifest


_NETWORKS = ("actor_hidden", "activation", "layer_norm", "normalize_obs", "state_dependent_std")
"""Fields of a configuration that decide what the numbers of an actor mean."""


def _require_same_networks(config: Any, source: Any) -> None:
    """Raise ``ValueError`` with all fields that differ, and the options that make them equal."""
    both = [name for name in _NETWORKS if hasattr(config, name) and hasattr(source, name)]
    other = {name: getattr(source, name) for name in both if getattr(source, name) != getattr(config, name)}
    if other:
        differ = "; ".join(f"{name} is {getattr(config, name)}, and {value} there" for name, value in other.items())
        options = " ".join(f"{flag(name)} {spelled(value)}" for name, value in other.items())
        raise ValueError(f"the networks are others than where it was learned: {differ}; give {options}")
