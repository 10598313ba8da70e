"""How large returns are, so that rewards can be counted in that unit."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._normalize import RunningStats

_EPS = 1e-6


class ReturnScale(NamedTuple):
    """Statistics of discounted returns as they run up, of all worlds."""

    running: Array
    """``R_t = gamma R_{t-1} + r_t`` of each world's episode so far ``[N]``."""
    stats: RunningStats
    """Of every ``R_t`` so far, of size 1."""

    @classmethod
    def init(cls, num_envs: int) -> ReturnScale:
        """Before the first reward."""
        return cls(jnp.zeros(num_envs, jnp.result_type(float)), RunningStats.init(1))

    def update(self, reward: Array, done: Array, gamma: float) -> ReturnScale:
        """With a window added: ``reward [T, N]`` and ``done [T, N]``; no gradient passes."""

        def step(running: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            r, d = row
            seen = gamma * running + r
            return jnp.where(d, 0.0, seen), seen

        rows = (jax.lax.stop_gradient(reward).astype(self.running.dtype), done)
        running, seen = jax.lax.scan(step, self.running, rows)
        return ReturnScale(running, self.stats.update(seen.reshape(-1, 1)))

    def unit(self, dtype: jnp.dtype) -> Array:
        """Standard deviation of the running returns, a scalar."""
        return jnp.sqrt(self.stats.var[0] + _EPS).astype(dtype)
