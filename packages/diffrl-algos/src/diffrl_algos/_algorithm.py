"""What the training loop and the tools around it ask of an algorithm, whatever its framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from diffsim_core import Env

Policy = Callable[[Any], Any]
"""Observations ``[N, no]`` to actions ``[N, na]`` in [-1, 1], without gradient.

One that remembers how far an episode has gone also has a method ``restart(done)``, which ``evaluate`` calls with None
before the first step and after each step with the worlds ``[N]`` (bool) that begin a new episode.
"""

Metrics = Mapping[str, Any]
"""The numbers that an update reports, ready for JSON; None for one that is not known yet. ``divergences`` may hold
records of diverged worlds (``diffsim_core.Divergence``), which go to a file of their own."""


class TrainState(Protocol):
    """All that a run needs to go on; frozen, replaced by every update."""

    @property
    def env(self) -> Env: ...

    @property
    def iteration(self) -> int:
        """Updates done."""
        ...

    @property
    def env_steps(self) -> int:
        """Control steps done, summed over worlds."""
        ...


class Algorithm(Protocol):
    """State in, state out: an algorithm is its configuration and these functions.

    Others are optional. ``template(env, seed)`` gives a state to load a checkpoint into, without the checks of
    training; ``init`` serves otherwise. ``value(state)`` gives a function of observations, whose values viewers show.
    ``update_together(states)`` gives a list of what ``update`` gives for each of several states, and
    ``check_together(states)`` raises ``ValueError`` where it cannot; ``diffrl train --seeds`` needs both.
    """

    name: str

    @property
    def config(self) -> Any:
        """A frozen dataclass of plain values with at least ``iterations``."""
        ...

    def init(self, env: Env, seed: int) -> Any:
        """The state before the first update; networks, worlds and random numbers follow from ``seed``."""
        ...

    def update(self, state: Any) -> tuple[Any, Metrics]:
        """One update. ``metrics`` has at least ``return_mean``: the mean return of the last finished
        training episodes, None before the first has finished."""
        ...

    def policy(self, state: Any, *, deterministic: bool = True, seed: int = 0) -> Policy:
        """The policy of ``state``; where it is stochastic, ``seed`` names its random numbers."""
        ...

    def to_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """The state as named arrays, for a checkpoint."""
        ...

    def from_arrays(self, state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        """The state that ``arrays`` hold, with the environment and the structure of ``state``.

        Raises:
            ValueError: a name, shape or dtype is not that of ``state``; the message names it.
        """
        ...
