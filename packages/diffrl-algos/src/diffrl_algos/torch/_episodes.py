"""Returns and lengths of the training episodes that windows cut into pieces."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _episodes as by_numpy


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
        return cls._of(by_numpy.Episodes.init(num_envs))

    def update(self, reward: Tensor, done: Tensor, valid: Tensor) -> Episodes:
        """Add a window of ``[T, N]``. Episodes that end with a step that is not valid are dropped and not counted."""
        return self._of(self._numpy().update(*(part.detach().cpu().numpy() for part in (reward, done, valid))))

    def means(self) -> tuple[float | None, float | None]:
        """Mean return and mean length of the last 100 episodes; None before the first has finished."""
        return self._numpy().means()

    def _numpy(self) -> by_numpy.Episodes:
        parts = (self.running_return, self.running_length, self.recent_return, self.recent_length)
        running_return, running_length, recent_return, recent_length = (part.numpy() for part in parts)
        return by_numpy.Episodes(running_return, running_length, recent_return, recent_length, self.finished)

    @classmethod
    def _of(cls, episodes: by_numpy.Episodes) -> Episodes:
        e = episodes
        parts = (e.running_return, e.running_length, e.recent_return, e.recent_length)
        running_return, running_length, recent_return, recent_length = map(torch.from_numpy, parts)
        return cls(running_return, running_length, recent_return, recent_length, e.finished)
