"""The peer in plain Taichi does what that in plain Warp does."""

from __future__ import annotations

import numpy as np
import pytest

from diffrl_bench._taichi_mpm import MATERIALS, TaichiMpm, is_installed
from diffrl_bench._warp_mpm import WarpMpm

from .test_warp_mpm import scene


def test_a_material_without_a_peer_is_refused() -> None:
    with pytest.raises(ValueError, match="'von_mises' has no peer in Taichi; choose from fixed_corotated, neo_hookean"):
        TaichiMpm(scene("von_mises"))


@pytest.mark.slow
@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.skipif(not is_installed(), reason="Taichi is not installed")
def test_it_agrees_with_warp(material: str) -> None:
    given = scene(material)
    peer, other = TaichiMpm(given), WarpMpm(given)
    for _ in range(2):  # what a run leaves behind does not matter
        peer.forward()
    other.forward()
    for ours, theirs in ((peer.x, other.x), (peer.v, other.v), (peer.F, other.F)):
        expected = theirs[-1].numpy()
        np.testing.assert_allclose(ours.to_numpy()[-1], expected, atol=1e-4 * np.abs(expected).max())
    assert 2 * peer.bytes == other.bytes
