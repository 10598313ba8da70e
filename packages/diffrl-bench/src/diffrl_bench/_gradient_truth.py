"""The gradient that estimators are compared with: central differences of the return, with the same random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env

from ._gradient_worlds import Start, Subject, basis, roll_out

Numbers = np.ndarray[Any, Any]


class Truth(NamedTuple):
    """Derivatives along ``K`` directions up to one horizon."""

    mean: Numbers
    """``[K]``."""
    covariance: Numbers
    """``[K, K]``: that of the mean."""
    worlds: int
    """Worlds that count."""
    left_out: int
    """Worlds of which some roll-out left the finite range."""

    @property
    def square(self) -> float:
        """The squared norm of the expected derivatives, free of the noise in the mean; by chance below 0."""
        return float(self.mean @ self.mean - np.trace(self.covariance))

    @property
    def error(self) -> float:
        """Standard error of the mean, a length."""
        return float(np.sqrt(np.trace(self.covariance)))

    @property
    def known(self) -> bool:
        """Whether the norm is at least twice its standard error; else nothing can be compared with it."""
        return bool(self.square > 0.0 and self.error <= 0.5 * np.sqrt(self.square))


@torch.no_grad()
def step_widths(subject: Subject, env: Env, start: Start, eps: Tensor, directions: Tensor, width: float) -> Tensor:
    """``[K]``: how far to go along each direction, so that the actions of a whole roll-out together move by ``width``
    standard deviations of their noise (root mean square over worlds; a divergence of ``width^2 / 2`` nat)."""
    rolled = roll_out(subject, env, start, eps, subject.theta)
    by_mean, by_logstd = basis(subject, rolled.obs, directions).chunk(2, dim=-1)
    std = subject.policy(subject.theta, rolled.obs).logstd.exp()
    moved = ((by_mean / std) ** 2 + 2.0 * by_logstd**2).sum(-1)
    counted = rolled.taken & rolled.fine
    whole = torch.where(counted, moved, 0.0).sum(1).mean(1)
    # A direction that no action depends on has no derivative, whatever the width.
    return width / torch.where(whole > 0, whole, 1.0).sqrt()


@torch.no_grad()
def differences(
    subject: Subject, env: Env, start: Start, eps: Tensor, horizons: Sequence[int], directions: Tensor, widths: Tensor
) -> tuple[Numbers, Numbers]:
    """Central differences of the returns of each world, ``[L, N, K]``, and whether they are finite, ``[L, N]``."""
    found, fine = [], torch.ones((len(horizons), env.num_envs), dtype=torch.bool, device=eps.device)
    at = torch.tensor(horizons, device=eps.device) - 1
    for direction, width in zip(directions, widths, strict=True):
        ends = []
        for sign in (1.0, -1.0):
            rolled = roll_out(subject, env, start, eps, subject.theta + sign * width * direction)
            ends.append(rolled.reward.cumsum(0)[at])
            fine &= rolled.fine[at]
        found.append((ends[0] - ends[1]) / (2.0 * width))
    return torch.stack(found, dim=-1).double().cpu().numpy(), fine.cpu().numpy()


def truth_of(values: Numbers, fine: Numbers) -> Truth:
    """From the differences of all worlds ``[M, K]`` up to one horizon, and whether they count ``[M]``.

    Raises:
        ValueError: fewer than two worlds count.
    """
    kept = values[fine]
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} of {len(fine)} worlds stayed within the finite range; expected at least 2")
    covariance = np.atleast_2d(np.cov(kept, rowvar=False)) / len(kept)
    return Truth(kept.mean(0), covariance, len(kept), len(fine) - len(kept))
