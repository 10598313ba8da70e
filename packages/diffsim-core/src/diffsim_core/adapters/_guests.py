"""The worlds of ``FromGymnasium``: environments that it resets itself, or a vector environment that resets its own.

Both say in ``Reached`` what a step led to, whatever the autoreset mode.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

Numbers = np.ndarray[Any, np.dtype[Any]]


class Reached(NamedTuple):
    """What one step of every world led to."""

    obs: Numbers
    """``[N, no]``, before any reset."""
    reward: Numbers
    """``[N]``"""
    terminal: Numbers
    """``[N]`` bool: the end of an episode."""
    time_limit: Numbers
    """``[N]`` bool: an episode was stopped."""
    taken: Numbers
    """``[N]`` bool: a step was taken. Where it was not, the action was ignored and an episode began."""
    seen: Numbers
    """``[N, no]``, what the environment returned: what the policy sees next, unless we reset the world."""


class Guests(Protocol):
    """``N`` worlds of Gymnasium."""

    worlds: VectorEnv[Any, Any, Any]
    own_resets: bool
    """Whether the worlds begin their next episodes themselves, so that none can be reset alone."""

    def begin(self, seeds: list[int], where: Numbers) -> Numbers:
        """Begin episodes in the worlds ``where``; the observations of all worlds."""
        ...

    def step(self, action: Numbers) -> Reached:
        """One step of every world, with actions ``[N, ...]`` in their own units."""
        ...


class Singles:
    """Single environments in a vector that resets none of them."""

    own_resets = False

    def __init__(self, worlds: VectorEnv[Any, Any, Any]) -> None:
        self.worlds = worlds

    def begin(self, seeds: list[int], where: Numbers) -> Numbers:
        """Every world has its own seed."""
        options = None if where.all() else {"reset_mask": where}
        lists: Any = seeds  # vectors of single environments take one for each
        return _rows(self.worlds.reset(seed=lists, options=options)[0])

    def step(self, action: Numbers) -> Reached:
        """A step is always taken."""
        obs, reward, terminal, time_limit, _ = self.worlds.step(action)
        obs = _rows(obs)
        return Reached(obs, reward, terminal, time_limit, np.ones(len(reward), dtype=bool), obs)


class Vector:
    """A vector environment that resets its worlds in the step that ends an episode, or in the one after it.

    Its ``step`` raises ``ValueError`` if the last observation of an episode is not given.
    """

    own_resets = True

    def __init__(self, worlds: VectorEnv[Any, Any, Any], mode: AutoresetMode) -> None:
        self.worlds = worlds
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._ended = np.zeros(worlds.num_envs, dtype=bool)

    def begin(self, seeds: list[int], where: Numbers) -> Numbers:
        """All worlds begin; the first seed names them all, as vector environments take one number."""
        self._ended = np.zeros_like(self._ended)
        return _rows(self.worlds.reset(seed=seeds[0])[0])

    def step(self, action: Numbers) -> Reached:
        """With ``NEXT_STEP``, a world whose episode has ended only begins the next one."""
        seen, reward, terminal, time_limit, info = self.worlds.step(action)
        seen, reward = _rows(seen), np.asarray(reward)
        terminal, time_limit = np.asarray(terminal, dtype=bool), np.asarray(time_limit, dtype=bool)
        done: Numbers = terminal | time_limit
        if self._same_step:
            obs = self._before_reset(seen, done, info)
            return Reached(obs, reward, terminal, time_limit, np.ones(len(done), dtype=bool), seen)
        taken = ~self._ended
        self._ended = done & taken
        return Reached(seen, reward, terminal, time_limit, taken, seen)

    def _before_reset(self, seen: Numbers, done: Numbers, info: dict[str, Any]) -> Numbers:
        if not done.any():
            return seen
        told = np.asarray(info.get("_final_obs", np.zeros(len(done), dtype=bool)), dtype=bool)
        if (done & ~told).any():
            raise ValueError(
                f"world {int(np.flatnonzero(done & ~told)[0])} has ended, but the vector environment's info has no "
                "final_obs of it; an environment with AutoresetMode.SAME_STEP must give it"
            )
        obs = seen.copy()
        for world in np.flatnonzero(done):
            obs[world] = np.asarray(info["final_obs"][world]).reshape(-1)
        return obs


def guests_of(worlds: VectorEnv[Any, Any, Any], name: str) -> Guests:
    """The worlds of a vector environment, by its autoreset mode.

    Raises:
        ValueError: it does not say its mode.
    """
    # Not from the metadata first: Gymnasium 1.1 shares those between all vectors of one environment.
    mode = getattr(worlds, "autoreset_mode", None) or worlds.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"environment {name!r} has autoreset_mode={mode!r} in its metadata; it must be one of "
            f"{', '.join(f'AutoresetMode.{one.name}' for one in AutoresetMode)}"
        )
    return Singles(worlds) if mode is AutoresetMode.DISABLED else Vector(worlds, mode)


def _rows(obs: Any) -> Numbers:
    """``[N, no]``"""
    obs = np.asarray(obs)
    return obs.reshape(len(obs), -1)
