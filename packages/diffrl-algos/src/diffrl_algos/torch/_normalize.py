"""Running mean and variance of observations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _distributed as distributed

_EPS = 1e-5


class Normalizer(NamedTuple):
    """``normalised = clip(shift + scale * x, -bound, bound)``, of observations ``x [..., no]``."""

    shift: Tensor
    """``[no]``."""
    scale: Tensor
    """``[no]``."""
    bound: Tensor | None = None
    """``[no]``, infinite for what is not clipped; None where nothing is. The gradient beyond a bound is zero."""

    def __call__(self, x: Tensor) -> Tensor:
        x = torch.addcmul(self.shift, x, self.scale)
        return x if self.bound is None else x.clamp(-self.bound, self.bound)

    def pull(self, x: Tensor, g: Tensor) -> Tensor:
        """The cotangent of ``x``, from that of what comes of it."""
        if self.bound is not None:
            unbounded = torch.addcmul(self.shift, x, self.scale)
            g = torch.where((unbounded >= -self.bound) & (unbounded <= self.bound), g, 0.0)
        return g * self.scale


class RunningStats(NamedTuple):
    """Mean and variance of all observations so far, kept in float64."""

    mean: Tensor
    """``[no]``."""
    var: Tensor
    """``[no]``."""
    weight: Tensor
    """Number of observations, a scalar; starts at 1e-4, so that the first window replaces the initial guess (0, 1)."""

    @classmethod
    def init(cls, size: int, device: torch.device) -> RunningStats:
        return cls(
            torch.zeros(size, dtype=torch.float64, device=device),
            torch.ones(size, dtype=torch.float64, device=device),
            torch.full((), 1e-4, dtype=torch.float64, device=device),
        )

    def update(self, x: Tensor) -> RunningStats:
        """Statistics with the rows of ``x [B, no]`` added (Chan, Golub & LeVeque 1979, pairwise form).

        One call for a whole window equals one call per step, up to rounding.
        """
        x = x.double()
        var, mean = torch.var_mean(x, dim=0, correction=0)
        n, mean, var = distributed.pool(len(x), mean, var)
        total = self.weight + n
        delta = mean - self.mean
        m2 = self.var * self.weight + var * n + delta.square() * (self.weight * n / total)
        return RunningStats(self.mean + delta * (n / total), m2 / total, total)

    def normalizer(self, dtype: torch.dtype, *, std_min: float = 0.0, clip: float | None = None) -> Normalizer:
        """The normalisation to mean 0 and variance 1.

        Args:
            dtype: of the observations.
            std_min: least deviation to divide by.
            clip: bound of normalised observations, plus and minus; none leaves them.
        """
        scale = (self.var + _EPS).rsqrt()
        if std_min > 0:
            scale = scale.clamp(max=1.0 / std_min)
        bound = None if clip is None else torch.full_like(scale, clip, dtype=dtype)
        return Normalizer((-self.mean * scale).to(dtype), scale.to(dtype), bound)


def value_units(stats: RunningStats, like: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of value targets, of the type of ``like``; 0 and 1 where not ``normalize``."""
    if not normalize:
        return torch.zeros((), dtype=like.dtype, device=like.device), torch.ones(
            (), dtype=like.dtype, device=like.device
        )
    return stats.mean[0].to(like.dtype), (stats.var[0] + _EPS).sqrt().to(like.dtype)
