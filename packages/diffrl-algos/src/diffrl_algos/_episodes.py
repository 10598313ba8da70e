"""Returns and lengths of the training episodes that windows cut into pieces, as NumPy arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_RECENT = 100
_Array = np.ndarray[Any, Any]


class Episodes(NamedTuple):
    """What is running in each world, and the last 100 episodes that finished."""

    running_return: _Array
    """Undiscounted return so far ``[N]``, float64."""
    running_length: _Array
    """Control steps so far ``[N]``, int64."""
    recent_return: _Array
    """Ring of finished returns ``[100]``, float64."""
    recent_length: _Array
    """Ring of finished lengths ``[100]``, int64."""
    finished: int
    """Episodes finished so far."""

    @classmethod
    def init(cls, num_envs: int) -> Episodes:
        """Before the first step."""
        return cls(np.zeros(num_envs), np.zeros(num_envs, np.int64), np.zeros(_RECENT), np.zeros(_RECENT, np.int64), 0)

    def update(self, reward: _Array, done: _Array, valid: _Array) -> Episodes:
        """Add a window of ``[T, N]``. Episodes that end with a step that is not valid are dropped and not counted."""
        running, length = self.running_return.copy(), self.running_length.copy()
        recent, recent_length = self.recent_return.copy(), self.recent_length.copy()
        finished = self.finished
        for r, d, v in zip(reward, done, valid, strict=True):
            running += r
            length += 1
            for world in np.flatnonzero(d & v):
                recent[finished % _RECENT] = running[world]
                recent_length[finished % _RECENT] = length[world]
                finished += 1
            running[d] = 0.0
            length[d] = 0
        return Episodes(running, length, recent, recent_length, finished)

    def restarted(self) -> Episodes:
        """With nothing running: episodes that were are dropped and not counted."""
        fresh = Episodes.init(len(self.running_return))
        return self._replace(running_return=fresh.running_return, running_length=fresh.running_length)

    def means(self) -> tuple[float | None, float | None]:
        """Mean return and mean length of the last 100 episodes; None before the first has finished."""
        k = min(self.finished, _RECENT)
        if k == 0:
            return None, None
        return float(self.recent_return[:k].mean()), float(self.recent_length[:k].mean())
