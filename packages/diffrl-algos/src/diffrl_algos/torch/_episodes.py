"""Returns and lengths of the training episodes that windows cut into pieces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_RECENT = 100


class Episodes(NamedTuple):
    """What is running in each world, and the last 100 episodes that finished. On the CPU."""

    running_return: Tensor
    """Undiscounted return so far ``[N]``, float64."""
    running_length: Tensor
    """Control steps so far ``[N]``, int64."""
    recent_return: Tensor
    """Ring of finished returns ``[100]``, float64."""
    recent_length: Tensor
    """Ring of finished lengths ``[100]``, int64."""
    finished: int
    """Episodes finished so far."""

    @classmethod
    def init(cls, num_envs: int) -> Episodes:
        return cls(
            torch.zeros(num_envs, dtype=torch.float64),
            torch.zeros(num_envs, dtype=torch.int64),
            torch.zeros(_RECENT, dtype=torch.float64),
            torch.zeros(_RECENT, dtype=torch.int64),
            0,
        )

    def update(self, reward: Tensor, done: Tensor, valid: Tensor) -> Episodes:
        """Add a window of ``[T, N]``. Episodes that end with a step that is not valid are dropped and not counted."""
        rewards, dones, valids = (part.detach().cpu().numpy() for part in (reward, done, valid))
        running, length = self.running_return.numpy().copy(), self.running_length.numpy().copy()
        recent, recent_length = self.recent_return.numpy().copy(), self.recent_length.numpy().copy()
        finished = self.finished
        for r, d, v in zip(rewards, dones, valids, strict=True):
            running += r
            length += 1
            for world in np.flatnonzero(d & v):
                recent[finished % _RECENT] = running[world]
                recent_length[finished % _RECENT] = length[world]
                finished += 1
            running[d] = 0.0
            length[d] = 0
        return Episodes(
            torch.from_numpy(running),
            torch.from_numpy(length),
            torch.from_numpy(recent),
            torch.from_numpy(recent_length),
            finished,
        )

    def means(self) -> tuple[float | None, float | None]:
        """Mean return and mean length of the last 100 episodes; None before the first has finished."""
        k = min(self.finished, _RECENT)
        if k == 0:
            return None, None
        return float(self.recent_return[:k].mean()), float(self.recent_length[:k].double().mean())
