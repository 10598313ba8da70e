"""Random numbers by name: each is a function of seed, world, episode and stream alone.

No generator is carried, saved or split. The numbers are Philox-4x32-10 (Salmon, Moraes,
Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the seed as key and
(block, stream, episode, world) as counter, made by one Warp kernel for torch and JAX.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._backend import Backend
from diffsim_core._interop import backend_of, from_numpy
from diffsim_core._protocol import Array

MAX_STREAM = 2**30
"""Streams are numbered from 0 to ``MAX_STREAM - 1``."""


class EpisodeRandom:
    """The random numbers of one episode in each of ``N`` worlds: what an environment hands to a task as ``Random``.

    Equal (seed, world, episode, stream, entry) give equal numbers, in torch and in JAX, for every ``N``. Different
    streams are independent, and so are ``uniform`` and ``normal`` of one stream. Each call launches one kernel, so a
    task is fastest if it draws all its numbers in one call.

    Args:
        seed: integer scalar array.
        episode: int32 ``[N]``.
        dtype: ``"float32"`` or ``"float64"``; both are roundings of the same numbers.
        world_offset: number of the first world; above 0 if the batch is a part of a larger one.
    """

    def __init__(self, seed: Array, episode: Array, *, dtype: str, device: str, world_offset: int = 0) -> None:
        self.seed = seed
        self.episode = episode
        self.dtype = dtype
        self.device = device
        self.world_offset = world_offset
        self.num_envs: int = episode.shape[0]

    def uniform(self, stream: int, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0) -> Array:
        """``[N, *shape]`` uniform numbers in ``[low, high)``, with bounds rounded to the dtype.

        Raises:
            ValueError: if ``low < high`` does not hold (after rounding) or ``stream`` is out of range.
        """
        scalar = np.float32 if self.dtype == "float32" else np.float64
        bounds = float(scalar(low)), float(scalar(high))
        if not (bounds[0] < bounds[1] and math.isfinite(bounds[1] - bounds[0])):
            raise ValueError(f"uniform needs finite {self.dtype} low < high, got low={low}, high={high}")
        return self._draw(2 * _checked(stream), shape, *bounds)

    def normal(self, stream: int, shape: tuple[int, ...] = ()) -> Array:
        """``[N, *shape]`` standard normal numbers (Box and Muller 1958).

        Raises:
            ValueError: if ``stream`` is out of range.
        """
        return self._draw(2 * _checked(stream) + 1, shape, 0.0, 1.0)

    def constant(self, value: Any) -> Array:
        """``value`` (numbers of shape ``[*shape]``) repeated for every world, ``[N, *shape]``."""
        values = np.asarray(value, dtype=self.dtype)
        return from_numpy(np.broadcast_to(values, (self.num_envs, *values.shape)), self.episode)

    def _draw(self, word: int, shape: tuple[int, ...], low: float, high: float) -> Array:
        fill = _Fill(self.device, self.dtype, self.world_offset, word, low, high)
        return backend_of(self.episode).draw(fill, self.seed, self.episode, shape)


def seed_array(backend: Backend, seed: int, device: Any) -> Array:
    """A seed as the scalar array that ``EnvState`` carries: int64, or int32 in JAX without 64-bit types.

    Raises:
        ValueError: if the seed is negative or does not fit.
    """
    wide, xp = backend.has_int64(), backend.xp
    if backend.is_traced(seed):
        return xp.asarray(seed, dtype=xp.int64 if wide else xp.int32)
    if not 0 <= seed < (2**63 if wide else 2**31):
        limit = "2**63" if wide else "2**31 (JAX without jax_enable_x64 has no 64-bit integers)"
        raise ValueError(f"seed must be an integer from 0 to below {limit}, got {seed}")
    return xp.asarray(seed, dtype=xp.int64 if wide else xp.int32, device=device)


def _checked(stream: int) -> int:
    if not 0 <= stream < MAX_STREAM:
        raise ValueError(f"stream must lie in 0 .. {MAX_STREAM - 1}, got {stream}")
    return stream


_LOCK = threading.Lock()


class _Fill(NamedTuple):
    """See ``diffsim_core._backend.Fill``."""

    device: str
    dtype: str
    world_offset: int
    word: int
    """Stream and distribution."""
    low: float
    high: float

    def __call__(self, worlds: int, per_world: int, seed: int, episode: int, out: int) -> None:
        if worlds * per_world == 0:
            return
        with _LOCK:
            command = _command(self, worlds, per_world)
            for i, pointer in enumerate((seed, episode, out)):
                command.set_param_at_index(i, pointer)
            command.launch()


@lru_cache(maxsize=1024)
def _command(fill: _Fill, worlds: int, per_world: int) -> Any:
    """A recorded launch, which costs a fifth of a new one."""
    import warp as wp

    from diffsim_core._philox import random_kernel
    from diffsim_core._warp import start_warp

    start_warp()

    scalar = np.float32 if fill.dtype == "float32" else np.float64
    top = float(np.nextafter(scalar(fill.high), scalar(-math.inf)))
    inputs = [0, 0, 0, worlds, per_world, fill.world_offset, fill.word, fill.low, fill.high, top]
    dim = (worlds, (per_world + 1) // 2)
    return wp.launch(random_kernel(fill.dtype), dim=dim, inputs=inputs, device=fill.device, record_cmd=True)
