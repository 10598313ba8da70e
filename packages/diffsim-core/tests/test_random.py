"""Random numbers by name: against the generator's published vectors, a NumPy twin and statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import warp as wp
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim_core import EpisodeRandom
from diffsim_core._interop import backend
from diffsim_core._philox import philox
from diffsim_core._random import MAX_STREAM, seed_array

# Counter, key and output of philox4x32-10 from the test vectors published with the paper's code (Random123).
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def twin_philox(counter, key):
    """Ten rounds in Python's integers; counters may be arrays."""
    c = [np.asarray(word, dtype=object) for word in counter]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 % 2**32, (p0 >> 32) ^ c[3] ^ k1, p0 % 2**32]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c


def twin(seed, world, episode, stream, size, low=None, high=None):
    """Numbers of one world in float64: uniform in [low, high], or normal without bounds."""
    word = 2 * stream + (low is None)
    blocks = np.array(range((size + 1) // 2), dtype=object)
    words = twin_philox((blocks, word, episode, world), (seed % 2**32, seed >> 32))
    pairs = [
        np.array([(a << 21) ^ (b >> 11) for a, b in zip(words[i], words[i + 1], strict=True)], dtype=np.float64) / 2**53
        for i in (0, 2)
    ]
    if low is None:
        radius = np.sqrt(-2 * np.log(1 - pairs[0]))
        pairs = [radius * np.cos(2 * np.pi * pairs[1]), radius * np.sin(2 * np.pi * pairs[1])]
    else:
        pairs = [low + (high - low) * unit for unit in pairs]
    return np.stack(pairs, axis=1).reshape(-1)[:size]


def torch_random(seed=0, episode=(0, 0, 0), dtype="float64", world_offset=0) -> EpisodeRandom:
    episodes = torch.tensor(episode, dtype=torch.int32)
    key = seed_array(backend("torch"), seed, "cpu")
    return EpisodeRandom(key, episodes, dtype=dtype, device="cpu", world_offset=world_offset)


def jax_random(seed=0, episode=(0, 0, 0), dtype="float32", world_offset=0) -> EpisodeRandom:
    key = seed_array(backend("jax"), seed, jax.devices("cpu")[0])
    return EpisodeRandom(key, jnp.asarray(episode, jnp.int32), dtype=dtype, device="cpu", world_offset=world_offset)


@wp.kernel(enable_backward=False)
def run_philox(words: wp.array2d[wp.uint32], out: wp.array2d[wp.uint32]):
    i = wp.tid()
    found = philox(words[i, 0], words[i, 1], words[i, 2], words[i, 3], words[i, 4], words[i, 5])
    for k in range(4):
        out[i, k] = found[k]


def test_philox_gives_the_published_vectors():
    words = np.array([counter + key for counter, key, _ in VECTORS], dtype=np.uint32)
    out = wp.zeros((len(VECTORS), 4), dtype=wp.uint32, device="cpu")
    wp.launch(run_philox, len(VECTORS), inputs=[wp.array(words, dtype=wp.uint32, device="cpu"), out], device="cpu")
    for row, (counter, key, expected) in zip(out.numpy(), VECTORS, strict=True):
        assert tuple(row) == expected
        assert tuple(int(word) for word in twin_philox(counter, key)) == expected


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**63 - 1),
    stream=st.integers(0, MAX_STREAM - 1),
    episode=st.integers(0, 2**31 - 1),
    world_offset=st.integers(0, 2**31 - 4),
    size=st.integers(0, 7),
    low=st.floats(-1e3, 1e3),
    width=st.floats(1e-3, 1e3),
)
def test_equal_to_the_twin(seed, stream, episode, world_offset, size, low, width):
    random = torch_random(seed, (0, episode), world_offset=world_offset)
    uniform, normal = random.uniform(stream, (size,), low, low + width), random.normal(stream, (size,))
    where = (seed, world_offset + 1, episode, stream, size)
    np.testing.assert_allclose(uniform[1], twin(*where, low, low + width), rtol=0, atol=4e-16 * (abs(low) + width))
    np.testing.assert_allclose(normal[1], twin(*where), rtol=1e-13, atol=1e-15)


@settings(max_examples=60)
@given(low=st.floats(width=32, allow_nan=False), high=st.floats(width=32, allow_nan=False))
def test_uniform_lies_in_its_half_open_interval(low, high):
    random = torch_random(episode=[0] * 200, dtype="float32")
    if not low < high or not np.isfinite(high - low):
        with pytest.raises(ValueError, match="low < high"):
            random.uniform(0, (), low, high)
        return
    found = random.uniform(0, (), low, high)
    assert (found >= low).all() and (found < high).all()


def test_a_narrow_interval_never_reaches_its_open_end():
    high = float(np.nextafter(np.float32(1), np.float32(2)))
    found = torch_random(episode=[0] * 1000, dtype="float32").uniform(0, (), 1.0, high)
    assert (found == 1.0).all()


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 1])
def test_torch_and_jax_draw_the_same_bits(seed):
    a, b = torch_random(seed, (0, 3, 7), "float32", 11), jax_random(seed, (0, 3, 7), "float32", 11)
    for draw in (
        lambda r: r.uniform(2, (3, 2), -2.0, 5.0),
        lambda r: r.normal(2, (5,)),
        lambda r: r.uniform(4),
        lambda r: r.constant([[1.0, 2.0]]),
    ):
        here, there = draw(a), draw(b)
        assert here.shape == there.shape and here.shape[0] == 3
        assert here.numpy().tobytes() == np.asarray(there).tobytes()
        traced = jax.jit(
            lambda e, draw=draw: draw(EpisodeRandom(b.seed, e, dtype="float32", device="cpu", world_offset=11))
        )
        assert np.asarray(traced(b.episode)).tobytes() == np.asarray(there).tobytes()


def test_jax_with_64_bit_types_takes_long_seeds():
    with jax.enable_x64(True):
        key = seed_array(backend("jax"), 2**40 + 5, jax.devices("cpu")[0])
        found = EpisodeRandom(key, jnp.zeros(3, jnp.int32), dtype="float64", device="cpu").normal(0, (4,))
        assert found.dtype == jnp.float64
        assert np.asarray(found).tobytes() == torch_random(2**40 + 5).normal(0, (4,)).numpy().tobytes()


def test_float32_rounds_the_numbers_of_float64():
    single, double = torch_random(9, dtype="float32"), torch_random(9, dtype="float64")
    assert torch.equal(single.uniform(1, (50,), -1, 1), double.uniform(1, (50,), -1, 1).float())
    assert torch.equal(single.normal(1, (50,)), double.normal(1, (50,)).float())


def test_every_part_of_the_name_matters_and_the_number_of_worlds_does_not():
    base = torch_random(5, [2] * 8).uniform(1, (4,))
    assert torch.equal(torch_random(5, [2] * 3).uniform(1, (4,)), base[:3])
    assert torch.equal(torch_random(5, [2] * 4, world_offset=4).uniform(1, (4,)), base[4:])
    assert torch.equal(torch_random(5, [2] * 8).uniform(1, (9,))[:, :4], base)
    for other in (
        torch_random(6, [2] * 8).uniform(1, (4,)),
        torch_random(5 + 2**32, [2] * 8).uniform(1, (4,)),
        torch_random(5, [3] * 8).uniform(1, (4,)),
        torch_random(5, [2] * 8).uniform(2, (4,)),
        torch_random(5, [2] * 8, world_offset=1).uniform(1, (4,)),
    ):
        assert not (other == base).any()
    assert len(base.unique()) == base.numel()


def test_moments_and_correlations():
    """Means, variances and correlations within five standard errors."""
    n = 100_000
    random = torch_random(3, [1] * n)
    u, z = random.uniform(0, (2,)).numpy(), random.normal(0, (3,)).numpy()
    later = torch_random(3, [2] * n).normal(0, (1,)).numpy()
    assert (np.abs(u.mean(0) - 0.5) < 5 * np.sqrt(1 / 12 / n)).all()
    assert (np.abs(z.mean(0)) < 5 / np.sqrt(n)).all()
    assert (np.abs(z.var(0) - 1) < 5 * np.sqrt(2 / n)).all()
    assert (np.abs((z**4).mean(0) - 3) < 5 * np.sqrt(96 / n)).all()
    correlation = np.corrcoef(np.concatenate([u, z, later], axis=1).T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(n)
    # Kolmogorov and Smirnov: sqrt(n) D exceeds 2.2 with a probability of 1e-4
    gap = np.abs(np.sort(u[:, 0]) - np.arange(n) / n).max()
    assert np.sqrt(n) * gap < 2.2


def test_errors():
    with pytest.raises(ValueError, match=r"below 2\*\*63, got -1"):
        seed_array(backend("torch"), -1, "cpu")
    with pytest.raises(ValueError, match=r"below 2\*\*31 .*jax_enable_x64"):
        jax_random(2**31)
    with pytest.raises(ValueError, match=rf"stream must lie in 0 \.\. {MAX_STREAM - 1}, got -1"):
        torch_random().normal(-1)
    with pytest.raises(ValueError, match=r"float32 low < high, got low=1\.0, high=1\.00000000001"):
        torch_random(dtype="float32").uniform(0, (), 1.0, 1.00000000001)
