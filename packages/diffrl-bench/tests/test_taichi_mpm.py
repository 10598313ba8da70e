"""The peer in plain Taichi does what that in plain Warp does, in both passes."""

from __future__ import annotations

import numpy as np
import pytest

from diffrl_bench._taichi_mpm import TaichiMpm, is_installed
from diffrl_bench._warp_mpm import WarpMpm

from .test_warp_mpm import scene


def test_a_material_without_a_peer_is_refused() -> None:
    with pytest.raises(ValueError, match="'von_mises' has no peer in Taichi; choose from fixed_corotated, neo_hookean"):
        TaichiMpm(scene("von_mises"))


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="Taichi is not installed")
def test_it_agrees_with_warp() -> None:
    """With Neo-Hookean, whose adjoint needs no singular values. Compiling takes a minute."""
    given, random = scene("neo_hookean", substeps=3), np.random.default_rng(1)
    peer, other = TaichiMpm(given), WarpMpm(given)
    for _ in range(2):  # what a run leaves behind does not matter
        peer.forward()
    other.record()
    for ours, theirs in ((peer.x, other.x), (peer.v, other.v), (peer.F, other.F)):
        expected = theirs[-1].numpy()
        np.testing.assert_allclose(ours.to_numpy()[-1], expected, atol=1e-4 * np.abs(expected).max())
    gx, gv = (random.standard_normal(given.x.shape) for _ in range(2))
    for found, expected in zip(peer.backward(gx, gv), other.backward(gx, gv), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert peer.bytes == other.bytes
