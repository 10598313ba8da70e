"""Several seeds in one process: which runs can be trained together, and one line that shows the progress of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from ._callbacks import ProgressLine
from ._errors import UsageError
from ._spec import RunSpec
from ._train import Callback, Status, Update


def require_alike(specs: Sequence[RunSpec]) -> None:
    """Raise ``UsageError`` unless these runs may be trained together: they differ in nothing but their seeds."""
    if len(specs) == 1:
        return
    first = specs[0]
    if first.entry.arrays != "jax":
        raise UsageError(
            f"--seeds trains several seeds in one process, which {first.entry.arrays} has not; use diffrl bench run, "
            "or --framework jax"
        )
    if first.wandb is not None:
        raise UsageError("--wandb logs one run of a process, not several seeds; leave it out, or use --tensorboard")
    if len({spec.seed for spec in specs}) < len(specs):
        raise UsageError(f"seeds are {', '.join(str(spec.seed) for spec in specs)}; each may be there once")
    for spec in specs[1:]:
        if dataclasses.replace(spec, seed=first.seed) != first:
            one, other = first.to_json(), spec.to_json()
            names = [name for name in {**one, **other} if name != "seed" and one.get(name) != other.get(name)]
            raise UsageError(
                f"runs that are trained together differ in their seeds alone, and seeds {first.seed} and {spec.seed} "
                f"differ in {', '.join(names)}; resume one run at a time"
            )


def require_together(algorithm: Any, states: Sequence[Any]) -> None:
    """Raise ``UsageError`` unless the algorithm computes the updates of these states together."""
    if len(states) == 1:
        return
    if not hasattr(algorithm, "update_together"):
        raise UsageError(
            f"{algorithm.name} has no method update_together(states), which several seeds in one process need; train "
            "one seed at a time"
        )
    try:
        algorithm.check_together(states)
    except ValueError as error:
        raise UsageError(str(error)) from None


class _Begun(NamedTuple):
    """Where a training began, as a ``ProgressLine`` asks for it."""

    env_steps: int
    fraction: float


class SharedLine:
    """One ``ProgressLine`` for several seeds: the steps of all, and the mean of their returns."""

    def __init__(self, out: IO[str]) -> None:
        self._line = ProgressLine(out)
        self._begun: dict[int, _Begun] = {}
        self._last: dict[int, Update] = {}
        self._running: list[int] = []

    def of(self, seed: int) -> Callback:
        """What tells the line of a seed."""
        return _OfSeed(self, seed)

    def start(self, seed: int, begun: _Begun) -> None:
        """A seed begins."""
        self._begun[seed] = begun
        self._running.append(seed)
        self._line.title = f"mean of {len(self._begun)} seeds  " if len(self._begun) > 1 else ""
        steps, fractions = zip(*self._begun.values(), strict=True)
        self._line.on_start(_Begun(sum(steps), min(fractions)), min(fractions))

    def evaluation(self, seed: int, update: Update) -> None:
        """A seed was evaluated."""
        self._line.on_evaluation(update, f"seed {seed}, ")

    def update(self, seed: int, update: Update) -> None:
        """A seed has made an update; it is shown after that of the last one."""
        self._last[seed] = update
        if seed == self._running[-1]:
            self._line.on_update(self._merged())

    def stop(self, seed: int, status: Status) -> None:
        """A seed has stopped."""
        self._running.remove(seed)
        if not self._running and self._last:
            self._line.on_stop(self._merged(), status)

    def _merged(self) -> Update:
        """The last updates of all seeds as one."""
        found = [one.metrics for one in self._last.values()]
        steps = {seed: one.env_steps for seed, one in self._begun.items()}
        steps |= {seed: one.metrics["env_steps"] for seed, one in self._last.items()}
        known = [one["return_mean"] for one in found if one["return_mean"] is not None]
        counts = ("diverged", "refused_updates", "rewards_not_finite")
        metrics: dict[str, Any] = {
            "iteration": min(one["iteration"] for one in found),
            "env_steps": sum(steps.values()),
            "return_mean": sum(known) / len(known) if known else None,
            **{name: sum(one.get(name) or 0 for one in found) for name in counts},
        }
        # What has stopped is waited for no more.
        left = [one.fraction for seed, one in self._last.items() if seed in self._running]
        fraction = min(left or [one.fraction for one in self._last.values()])
        divergences = [one for update in self._last.values() for one in update.divergences]
        return Update(None, metrics, divergences, fraction)


class _OfSeed(Callback):
    def __init__(self, line: SharedLine, seed: int) -> None:
        self._line, self._seed = line, seed

    def on_start(self, state: Any, fraction: float) -> None:
        self._line.start(self._seed, _Begun(state.env_steps, fraction))

    def on_evaluation(self, update: Update) -> None:
        self._line.evaluation(self._seed, update)

    def on_update(self, update: Update) -> None:
        self._line.update(self._seed, update)

    def on_stop(self, update: Update | None, status: Status) -> None:
        self._line.stop(self._seed, status)
