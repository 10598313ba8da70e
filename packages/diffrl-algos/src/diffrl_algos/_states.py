"""States of a run: before its first update, and of its checkpoints."""

from __future__ import annotations

from typing import Any

from . import _processes
from ._checkpoint import Manifest
from ._errors import CheckpointError, UsageError
from ._run import Run
from ._spec import RunSpec


def begin(spec: RunSpec) -> Any:
    """The state before the first update; ``UsageError`` where the algorithm cannot learn in this environment."""
    if _processes.size() > 1 and spec.entry.arrays != "torch":
        raise UsageError(f"{spec.algorithm} learns in one process; only algorithms in torch share their worlds out")
    env, algorithm = spec.make_env(), spec.build()
    if _processes.size() > 1 and not getattr(algorithm, "processes", False):
        raise UsageError(
            f"{spec.algorithm} learns in one process; start it without torchrun. An algorithm of your own says that it "
            "averages its gradients over the processes by a class attribute: processes = True"
        )
    try:
        return algorithm.init(env, spec.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def restore(run: Run, which: str, *, whole: bool = False) -> tuple[Any, Manifest]:
    """The state of a checkpoint, in an environment made anew; ``whole`` to go on from, else to act with."""
    arrays, manifest = run.load(which, whole=whole)
    algorithm = run.spec.build()
    state = begin(run.spec) if whole else _template(run.spec)
    try:
        return algorithm.from_arrays(state, arrays), manifest
    except ValueError as error:
        raise CheckpointError(f"{run.checkpoints / which}: {error}: written for another version or run") from None


def _template(spec: RunSpec) -> Any:
    """A state to load a checkpoint into, to act with. It needs neither gradients nor the memory of training.

    An algorithm may have a method ``template(env, seed)`` for it; without one its ``init`` serves.
    """
    algorithm = spec.build()
    make = getattr(algorithm, "template", algorithm.init)
    try:
        return make(spec.make_env(), spec.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
