"""Random numbers by name: seed, world, episode and stream decide each number, and nothing else does.

There is no generator to carry, to save or to split. The numbers are Philox-4x32-10 (Salmon, Moraes,
Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the seed as key and
(block, stream, episode, world) as counter, made by one Warp kernel that torch and JAX both call.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from diffsim_core._interop import framework_of, from_numpy, has_int64, namespace, stop_gradient
from diffsim_core._protocol import Array

MAX_STREAM = 2**30
"""Streams are numbered from 0 to ``MAX_STREAM - 1``."""


class Random:
    """The random numbers of one episode in each of ``N`` worlds.

    Equal (seed, world, episode, stream, entry) give equal numbers, in torch and in JAX, whatever ``N``
    is; different streams are independent, and ``uniform`` and ``normal`` of one stream are too.
    Each call is one kernel: drawing all of a task's numbers in one call is the quickest.

    Args:
        seed: integer scalar array.
        episode: int32 ``[N]``.
        dtype: ``"float32"`` or ``"float64"``; both are roundings of the same numbers.
        world_offset: number of the first world, for a batch that is part of a larger one.
    """

    def __init__(self, seed: Array, episode: Array, *, dtype: str, device: str, world_offset: int = 0) -> None:
        self.seed = seed
        self.episode = episode
        self.dtype = dtype
        self.device = device
        self.world_offset = world_offset
        self.num_envs: int = episode.shape[0]

    def uniform(self, stream: int, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0) -> Array:
        """``[N, *shape]`` numbers uniform in ``[low, high)``, bounds rounded to the dtype.

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
        if framework_of(self.episode) == "torch":
            return _draw_torch(self, word, shape, low, high)
        return _draw_jax(self, word, shape, low, high)


def seed_array(xp: Any, seed: int, device: Any) -> Array:
    """A seed as the scalar array that ``EnvState`` carries: int64, or int32 in JAX without 64-bit types.

    Raises:
        ValueError: if the seed is negative or does not fit.
    """
    wide = has_int64(xp)
    if not 0 <= seed < (2**63 if wide else 2**31):
        limit = "2**63" if wide else "2**31 (JAX without jax_enable_x64 has no 64-bit integers)"
        raise ValueError(f"seed must be an integer from 0 to below {limit}, got {seed}")
    return xp.asarray(seed, dtype=xp.int64 if wide else xp.int32, device=device)


def _checked(stream: int) -> int:
    if not 0 <= stream < MAX_STREAM:
        raise ValueError(f"stream must lie in 0 .. {MAX_STREAM - 1}, got {stream}")
    return stream


def _draw_torch(random: Random, word: int, shape: tuple[int, ...], low: float, high: float) -> Array:
    from diffsim_core._interop_torch import warp_stream

    xp = namespace("torch")
    episode = random.episode.contiguous()
    out = xp.empty((random.num_envs, *shape), dtype=getattr(xp, random.dtype), device=episode.device)
    what = (random.device, random.dtype, random.num_envs, math.prod(shape), random.world_offset, word, low, high)
    with warp_stream(episode.device):
        _launch(what, random.seed.data_ptr(), episode.data_ptr(), out.data_ptr())
    return out


def _draw_jax(random: Random, word: int, shape: tuple[int, ...], low: float, high: float) -> Array:
    xp = namespace("jax")
    seed = random.seed
    high_word = seed >> 32 if seed.dtype == xp.int64 else xp.zeros_like(seed)
    key = xp.stack([seed, high_word]).astype(xp.uint32).view(xp.int32)
    call = _jax_call(random.device, random.dtype, random.world_offset, word, low, high)
    dims = {"out": (random.num_envs, math.prod(shape))}
    (flat,) = call(key, stop_gradient(random.episode), output_dims=dims)
    return flat.reshape((random.num_envs, *shape))


@lru_cache(maxsize=1024)
def _jax_call(device: str, dtype: str, world_offset: int, word: int, low: float, high: float) -> Callable[..., Any]:
    from diffsim_core._interop_jax import ffi_callable

    def call(key: Any, episode: Any, out: Any) -> None:
        worlds, per_world = out.shape
        _launch((device, dtype, worlds, per_world, world_offset, word, low, high), key.ptr, episode.ptr, out.ptr)

    arguments = {"key": ("int32", 1), "episode": ("int32", 1), "out": (dtype, 2)}
    return ffi_callable("random", call, arguments, 1)


_LOCK = threading.Lock()


def _launch(what: tuple[Any, ...], seed: int, episode: int, out: int) -> None:
    """Fill ``[worlds, per_world]`` numbers at ``out``; replaying a recorded launch costs a fifth of a fresh one."""
    if what[2] * what[3] == 0:
        return
    with _LOCK:
        command = _command(*what)
        for i, pointer in enumerate((seed, episode, out)):
            command.set_param_at_index(i, pointer)
        command.launch()


@lru_cache(maxsize=1024)
def _command(
    device: str, dtype: str, worlds: int, per_world: int, world_offset: int, word: int, low: float, high: float
) -> Any:
    import warp as wp

    from diffsim_core._philox import random_kernel
    from diffsim_core._warp import start_warp

    start_warp()

    scalar = np.float32 if dtype == "float32" else np.float64
    top = float(np.nextafter(scalar(high), scalar(-math.inf)))
    inputs = [0, 0, 0, worlds, per_world, world_offset, word, low, high, top]
    dim = (worlds, (per_world + 1) // 2)
    return wp.launch(random_kernel(dtype), dim=dim, inputs=inputs, device=device, record_cmd=True)
