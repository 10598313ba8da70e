"""``Driver``: an environment that keeps its state, as other libraries expect. All adapters use it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from diffsim_core._interop import backend, backend_of, from_numpy, stop_gradient, to_numpy
from diffsim_core._protocol import Array, Env, EnvState, Transition
from diffsim_core._tree import tree_map

_SEEDS = 2**31
_AHEAD = 100
"""Steps that a discount of 0.99 sees: 1 / (1 - 0.99)."""


class Driver:
    """An environment with its state and seeds. Its outputs carry no gradient.

    Args:
        env: any environment with vector observations.
        seed: seed of the first reset; each later reset takes the next number, unless it is given one.
        spread: let the first episodes end early, at random times, so that worlds are not in phase.
        divergence_price: what a step costs in which a world leaves the finite range. The step ends the episode
            (terminated) and earns minus this. None charges the worst reward so far, or 0 if that is positive, for
            every step that was left of the episode, and for at least 100 steps: a world must not look better broken
            than whole. Libraries of others cannot leave such steps out of what they learn. They add the value of
            going on where time ends an episode; a break shortly before must not cost less than that.

    Raises:
        ValueError: the observation of the environment is a mapping of arrays.
    """

    def __init__(self, env: Env, seed: int = 0, spread: bool = False, *, divergence_price: float | None = None) -> None:
        if divergence_price is not None and not (math.isfinite(divergence_price) and divergence_price >= 0):
            raise ValueError(f"divergence_price={divergence_price!r} must be a finite number of at least 0, or None")
        if names := ", ".join(env.spec.obs_shapes):
            raise ValueError(f"environment {env.spec.name!r} observes {names}; the adapters take one vector")
        self.env = env
        self._seed = seed
        self._spread = spread
        self._price = divergence_price
        self._worst: Any = 0.0
        self._state: EnvState | None = None
        self.obs: Array = None
        """``[N, no]``, the next observation of the policy."""

    @property
    def state(self) -> EnvState:
        """Current state of the worlds.

        Raises:
            RuntimeError: ``reset`` was never called.
        """
        if self._state is None:
            raise RuntimeError("call reset before the first step")
        return self._state

    @state.setter
    def state(self, value: EnvState) -> None:
        self._state = value

    def reset(self, seed: int | None = None) -> Array:
        """Begin new episodes in all worlds; returns the observation ``[N, no]``."""
        if seed is not None:
            self._seed = seed % _SEEDS
        self._state, self.obs = self.env.reset(self._seed)
        if self._spread:
            elapsed = np.random.default_rng(self._seed).integers(self.env.spec.horizon, size=self.env.num_envs)
            t = self._state.t
            self._state = self._state._replace(t=from_numpy(elapsed.astype(to_numpy(t).dtype), t))
        self._seed = (self._seed + 1) % _SEEDS
        return self.obs

    def step(self, action: Array, held: Array | None = None) -> Transition:
        """One step with an array of the environment's library ``[N, na]``.

        Worlds ``held`` (``[N]`` bool) stay where they are; their rows of the transition mean nothing.
        """
        before, obs = self.state, self.obs
        self._state, step = self.env.step(before, stop_gradient(action))
        self.obs = step.obs
        if held is not None:
            self._state, self.obs = _kept(held, before, self._state), _kept(held, obs, step.obs)
            step = step._replace(
                reward=backend_of(obs).xp.where(held, 0.0, step.reward), diverged=step.diverged & ~held
            )
        return self._charged(before, step)

    def _charged(self, before: EnvState, step: Transition) -> Transition:
        """The step with its price where the world diverged."""
        xp: Any = backend_of(step.reward).xp
        price: Any = self._price
        if price is None:
            least = xp.min(xp.where(step.diverged, xp.zeros_like(step.reward), step.reward))
            self._worst = xp.clip(least, None, self._worst)
            left = xp.clip(self.env.spec.horizon - before.t, _AHEAD, None)
            price = -self._worst * xp.astype(left, step.reward.dtype)
        return step._replace(
            reward=xp.where(step.diverged, -price, step.reward),
            terminated=step.terminated | step.diverged,
            truncated=step.truncated & ~step.diverged,
        )

    def step_numpy(self, action: Any, held: Any = None) -> Transition:
        """One step with a NumPy array; returns NumPy arrays. ``held`` as in ``step``.

        Raises:
            ValueError: the action does not have the shape ``[N, na]``.
        """
        shape = (self.env.num_envs, self.env.spec.num_actions)
        values = np.asarray(action)
        if values.shape != shape:
            raise ValueError(f"action has shape {values.shape}, expected {shape}: one row for each world")
        _ = self.state  # raises before the first reset
        dtype = to_numpy(self.obs[:1]).dtype
        if held is not None:
            values, held = np.where(held[:, None], 0.0, values), from_numpy(held, self.obs)
        return tree_map(to_numpy, self.step(from_numpy(values.astype(dtype), self.obs), held))


def _kept(held: Array, before: Any, after: Any) -> Any:
    """``after``, except in the worlds ``held``; what has no axis of worlds is the same in both."""
    xp: Any = backend_of(held).xp

    def keep(old: Array, new: Array) -> Array:
        return xp.where(xp.reshape(held, (-1,) + (1,) * (old.ndim - 1)), old, new) if old.ndim else new

    return tree_map(keep, before, after)


def require_torch(driver: Driver, library: str) -> None:
    """Raise ``TypeError`` unless the environment gives torch tensors; this uses up the first reset."""
    given = backend_of(driver.reset())
    if given is not backend("torch"):
        raise TypeError(
            f"{library} needs torch tensors, and this environment gives {given.name} arrays; "
            "make it with arrays='torch'"
        )
