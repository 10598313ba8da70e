"""Running mean and variance of observations."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ._networks import clamp

_EPS = 1e-5


class Normalizer(NamedTuple):
    """``normalised = clip(shift + scale * x, -bound, bound)``, of observations ``x [..., no]``."""

    shift: Array
    """``[no]``."""
    scale: Array
    """``[no]``."""
    bound: float | Array | None = None
    """Of all numbers, or ``[no]``; None where nothing is clipped. The gradient beyond a bound is zero."""

    def __call__(self, x: Array) -> Array:
        x = self.shift + x * self.scale
        return x if self.bound is None else clamp(x, -self.bound, self.bound)


class RunningStats(NamedTuple):
    """Mean and variance of all rows so far."""

    mean: Array
    """``[no]``."""
    var: Array
    """``[no]``."""
    weight: Array
    """Number of rows, a scalar; starts at 1e-4, so that the first window replaces the initial guess (0, 1)."""

    @classmethod
    def init(cls, size: int) -> RunningStats:
        """In float64 where JAX has it, else in float32."""
        dtype = jnp.result_type(float)
        return cls(jnp.zeros(size, dtype), jnp.ones(size, dtype), jnp.asarray(1e-4, dtype))

    def update(self, x: Array) -> RunningStats:
        """Statistics with the rows of ``x [B, no]`` added (Chan, Golub & LeVeque 1979, pairwise form)."""
        x = x.astype(self.mean.dtype)
        mean, var, n = x.mean(0), x.var(0), len(x)
        total = self.weight + n
        delta = mean - self.mean
        # Shares, not sums of squares: in float32 these would lose their digits after a few million rows.
        old, new = self.weight / total, n / total
        return RunningStats(self.mean + delta * new, self.var * old + var * new + delta**2 * (old * new), total)

    def normalizer(self, dtype: jnp.dtype, *, std_min: float = 0.0, clip: float | None = None) -> Normalizer:
        """The normalisation to mean 0 and variance 1.

        Args:
            dtype: of the observations.
            std_min: least deviation to divide by.
            clip: bound of normalised observations, plus and minus; none leaves them.
        """
        scale = (self.var + _EPS) ** -0.5
        if std_min > 0:
            scale = jnp.minimum(scale, 1.0 / std_min)
        return Normalizer((-self.mean * scale).astype(dtype), scale.astype(dtype), clip)

    def units(self, dtype: jnp.dtype) -> tuple[Array, Array]:
        """Mean and standard deviation of rows of size 1, scalars."""
        return self.mean[0].astype(dtype), jnp.sqrt(self.var[0] + _EPS).astype(dtype)
