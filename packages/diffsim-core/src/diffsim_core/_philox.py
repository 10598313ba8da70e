"""Philox-4x32-10 as a Warp kernel: the counter-based generator of Salmon et al. (SC 2011), section 4.

A multiplication-and-exchange network on four 32-bit words, ten rounds, its key bumped by two Weyl
constants each round.
"""

# The bodies below are Warp's language, whose types a Python type checker misreads.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportGeneralTypeIssues=false
# pyright: reportAssignmentType=false, reportOperatorIssue=false, reportCallIssue=false, reportReturnType=false

# No postponed annotations here: Warp reads the kernels' types at definition.

from functools import lru_cache
from typing import Any

import warp as wp

_M0 = wp.constant(wp.uint64(0xD2511F53))
_M1 = wp.constant(wp.uint64(0xCD9E8D57))
_W0 = wp.constant(wp.uint32(0x9E3779B9))
_W1 = wp.constant(wp.uint32(0xBB67AE85))
_TAU = wp.constant(wp.float64(6.283185307179586))
_UNIT = wp.constant(wp.float64(2.0**-53))


@wp.func
def philox(c0: wp.uint32, c1: wp.uint32, c2: wp.uint32, c3: wp.uint32, k0: wp.uint32, k1: wp.uint32) -> wp.vec4ui:
    """Four random words of a counter and a key."""
    word_0 = c0
    word_1 = c1
    word_2 = c2
    word_3 = c3
    key_0 = k0
    key_1 = k1
    for _ in range(10):
        product_0 = _M0 * wp.uint64(word_0)
        product_1 = _M1 * wp.uint64(word_2)
        word_0 = wp.uint32(product_1 >> wp.uint64(32)) ^ word_1 ^ key_0
        word_1 = wp.uint32(product_1)
        word_2 = wp.uint32(product_0 >> wp.uint64(32)) ^ word_3 ^ key_1
        word_3 = wp.uint32(product_0)
        key_0 = key_0 + _W0
        key_1 = key_1 + _W1
    return wp.vec4ui(word_0, word_1, word_2, word_3)


@wp.func
def unit(high: wp.uint32, low: wp.uint32) -> wp.float64:
    """53 bits of two words as a number in [0, 1)."""
    bits = (wp.uint64(high) << wp.uint64(21)) ^ (wp.uint64(low) >> wp.uint64(11))
    return wp.float64(bits) * _UNIT


@wp.func
def draw(words: wp.vec4ui, normal: bool, low: wp.float64, high: wp.float64, top: wp.float64) -> wp.vec2d:
    """The two numbers of a block: uniform in [low, top], or standard normal."""
    first = unit(words[0], words[1])
    second = unit(words[2], words[3])
    if normal:
        # 1 - first lies in (0, 1], where the logarithm is finite.
        radius = wp.sqrt(wp.float64(-2.0) * wp.log(wp.float64(1.0) - first))
        return wp.vec2d(radius * wp.cos(_TAU * second), radius * wp.sin(_TAU * second))
    # Rounding to the array's dtype must not reach the open end.
    return wp.vec2d(wp.min(low + (high - low) * first, top), wp.min(low + (high - low) * second, top))


@lru_cache(maxsize=2)
def random_kernel(dtype: str) -> Any:
    """Kernel that fills ``out [worlds, per_world]``, one thread for each world and block of two numbers.

    It takes pointers, which are cheaper to pass than arrays.
    """
    scalar = wp.float32 if dtype == "float32" else wp.float64

    def fill(
        seed_ptr: wp.uint64,
        episode_ptr: wp.uint64,
        out_ptr: wp.uint64,
        worlds: int,
        per_world: int,
        world_offset: int,
        stream: int,
        low: wp.float64,
        high: wp.float64,
        top: wp.float64,
    ):
        world, block = wp.tid()
        seed = wp.array(ptr=seed_ptr, shape=(2,), dtype=wp.uint32)
        episode = wp.array(ptr=episode_ptr, shape=(worlds,), dtype=wp.int32)
        out = wp.array(ptr=out_ptr, shape=(worlds, per_world), dtype=scalar)
        words = philox(
            wp.uint32(block),
            wp.uint32(stream),
            wp.uint32(episode[world]),
            wp.uint32(world + world_offset),
            seed[0],
            seed[1],
        )
        numbers = draw(words, stream % 2 == 1, low, high, top)
        out[world, 2 * block] = scalar(numbers[0])
        if 2 * block + 1 < per_world:
            out[world, 2 * block + 1] = scalar(numbers[1])

    return wp.kernel(fill, module=wp.get_module(f"diffsim_core._philox.{dtype}"), enable_backward=False)
