"""How large returns are, so that rewards can be counted in that unit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._processes import size
from . import _distributed as distributed
from ._normalize import RunningStats

_EPS = 1e-6


class ReturnScale(NamedTuple):
    """Statistics of discounted returns as they run up, of all worlds."""

    running: Tensor
    """``R_t = gamma R_{t-1} + r_t`` of each world's episode so far ``[N]``, float64; of all processes."""
    stats: RunningStats
    """Of every ``R_t`` so far, of size 1."""

    @classmethod
    def init(cls, num_envs: int, device: torch.device) -> ReturnScale:
        """Before the first reward; ``num_envs`` are this process's."""
        running = torch.zeros(num_envs * size(), dtype=torch.float64, device=device)
        return cls(running, RunningStats.init(1, device))

    def update(self, reward: Tensor, done: Tensor, gamma: float) -> ReturnScale:
        """With a window added: ``reward [T, N]`` and ``done [T, N]`` of this process's worlds."""
        rewards, dones = (distributed.worlds(part.detach(), 1) for part in (reward, done))
        running, seen = self.running, []
        for r, d in zip(rewards.double(), dones, strict=True):
            running = gamma * running + r
            seen.append(running)
            running = torch.where(d, 0.0, running)
        mine = distributed.mine(torch.stack(seen), 1)
        return ReturnScale(running, self.stats.update(mine.reshape(-1, 1)))

    def unit(self, dtype: torch.dtype) -> Tensor:
        """Standard deviation of the running returns, a scalar."""
        return (self.stats.var[0] + _EPS).sqrt().to(dtype)
