"""Averages over bundles: one branch changes nothing, the mean is the mean, and its variance falls as theory says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
seeds = st.integers(0, 2**32)


def turned(q, rng, angle):
    """``q [..., 4]`` turned by up to ``angle`` [rad] about random axes."""
    axis = rng.normal(size=(*q.shape[:-1], 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    half = 0.5 * angle * rng.uniform(-1, 1, size=(*q.shape[:-1], 1))
    return product(q, np.concatenate([np.cos(half), np.sin(half) * axis], -1))


def product(a, b):
    w, x, y, z = np.moveaxis(a, -1, 0)
    matrix = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return np.einsum("ij...,...j->...i", matrix, b)


@settings(deadline=None)
@given(seed=seeds, n=st.integers(1, 6))
def test_it_is_the_mean_of_those_that_count(seed, n):
    rng = np.random.default_rng(seed)
    x, keep = rng.normal(size=(5, n, 3, 2)), rng.random((5, n)) < 0.6
    np.testing.assert_allclose(gradest.bundle_mean(x), x.mean(1), **CLOSE)
    want = [x[i, keep[i]].mean(0) if keep[i].any() else np.zeros((3, 2)) for i in range(5)]
    spoilt = np.where(keep[..., None, None], x, np.nan)
    np.testing.assert_allclose(gradest.bundle_mean(spoilt, keep), want, **CLOSE)


@settings(deadline=None)
@given(seed=seeds, n=st.integers(1, 20))
def test_equal_branches_keep_their_bits(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 1, 7)).astype(np.float32)
    same, keep = np.repeat(x, n, axis=1), rng.random((4, n)) < 0.5
    keep[:, -1] = True
    np.testing.assert_array_equal(gradest.bundle_mean(same), x[:, 0])
    np.testing.assert_array_equal(gradest.bundle_mean(same, keep), x[:, 0])


def test_a_bundle_of_one_is_the_plain_gradient():
    """Also backwards, where the mean hands the gradient of a world to its branch."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = torch.randn(5, 3, requires_grad=True, dtype=torch.float64)

    def gradient(of):
        return torch.autograd.grad((of.sin() ** 2).sum(), x)[0]

    torch.testing.assert_close(gradient(gradest.bundle_mean(x[:, None])), gradient(x), rtol=0, atol=1e-15)
    unit = x[:, :1] * 0 + torch.nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1)
    torch.testing.assert_close(gradest.bundle_mean_quaternion(unit[:, None]), unit)


@settings(deadline=None)
@given(seed=seeds, n=st.integers(1, 6))
def test_the_mean_rotation_is_nearest_to_all_and_knows_no_signs(seed, n):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(4, 1, 4))
    centre /= np.linalg.norm(centre, axis=-1, keepdims=True)
    q = turned(np.repeat(centre, n, axis=1), rng, 0.5)
    mean = gradest.bundle_mean_quaternion(q)
    np.testing.assert_allclose(np.linalg.norm(mean, axis=-1), 1.0, **CLOSE)
    flipped = q * rng.choice([-1.0, 1.0], size=(4, n, 1))
    same = np.sign((mean * gradest.bundle_mean_quaternion(flipped)).sum(-1))[:, None]
    np.testing.assert_allclose(same * gradest.bundle_mean_quaternion(flipped), mean, **CLOSE)
    np.testing.assert_allclose(gradest.bundle_mean_quaternion(3.0 * q), mean, **CLOSE)

    def distance(to):
        return ((q - to[:, None]) ** 2).sum((1, 2))

    best = distance(mean)
    for other in (turned(mean, rng, 0.1), turned(mean, rng, 0.001)):
        assert (distance(other) >= best - 1e-12).all()


def test_two_turns_have_their_middle():
    def about_z(angle):
        return np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])

    pair = np.stack([about_z(0.3), -about_z(1.1)])[None]
    np.testing.assert_allclose(gradest.bundle_mean_quaternion(pair)[0], about_z(0.7), **CLOSE)
    keep = np.array([[False, True]])
    np.testing.assert_allclose(gradest.bundle_mean_quaternion(pair, keep)[0], -about_z(1.1), **CLOSE)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_variance_falls_with_the_number_of_branches(n):
    """A wall of stiffness ``k`` at zero: the gradient is ``k`` or 0, of variance ``k^2/4``; in bundles ``k^2/4n``."""
    rng, k, bundles = np.random.default_rng(3), 30.0, 40_000
    gradients = k * (rng.normal(size=(bundles, n, 1)) < 0)
    measured = gradest.bundle_mean(gradients).var()
    # of a sample variance of nearly normal numbers the relative standard error is sqrt(2 / bundles)
    assert abs(measured * n / (k * k / 4) - 1) < 5 * np.sqrt(2 / bundles)
    np.testing.assert_allclose(gradest.bundle_mean(gradients).mean(), k / 2, atol=5 * k / 2 / np.sqrt(n * bundles))
