"""Learning rates and other numbers that change in the course of a run."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from .._config import UpdateConfig


class Progress(Protocol):
    """How far a run is: a state."""

    @property
    def iteration(self) -> int: ...
    @property
    def env_steps(self) -> int: ...


def learning_rate(config: UpdateConfig, start: float, state: Progress) -> float:
    """The rate of the next update: constant, or linear from ``start`` to ``lr_end``."""
    if config.lr_schedule == "constant":
        return start
    return linear(config, start, config.lr_end, state)


def linear(config: UpdateConfig, start: float, end: float, state: Progress) -> float:
    """From ``start`` at the first update to ``end`` at the end of the schedule, and ``end`` from there.

    The schedule ends after ``config.schedule_steps`` control steps, else after ``config.iterations`` updates. Where the
    counters of the state are tensors, as in a graph of an update, so is what this gives.
    """
    done, whole = config.schedule(state.iteration, state.env_steps)
    if isinstance(done, Tensor):
        return start + (end - start) * (done.double() / whole).clamp(max=1.0)  # pyright: ignore[reportReturnType]
    return start + (end - start) * min(1.0, done / whole)


def adapt_to_divergence(lr: float, kl: float, target: float) -> float:
    """The learning rate for the next epoch, given the policy's divergence ``kl`` [nat] from the one that acted.

    Divided by 1.5 where ``kl`` is above ``2 target``, multiplied by 1.5 where it is below ``target / 2``, within 1e-6
    and 1e-2, as in the libraries that the papers compare with. A divergence that is not a number counts as too large.
    """
    if not kl <= 2.0 * target:
        return max(lr / 1.5, 1e-6)
    return min(lr * 1.5, 1e-2) if kl < 0.5 * target else lr
