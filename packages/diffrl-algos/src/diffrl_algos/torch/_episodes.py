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
        return by_numpy.Episodes(*(part if isinstance(part, int) else part.numpy() for part in self))

    @classmethod
    def _of(cls, episodes: by_numpy.Episodes) -> Episodes:
        return cls(*(part if isinstance(part, int) else torch.from_numpy(part) for part in episodes))
