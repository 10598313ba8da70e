"""The peer in plain Warp is a material point method, and its automatic adjoint is right where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffrl_bench._warp_mpm import Scene, WarpMpm


def scene(material: str, **changes: Any) -> Scene:
    """Two small blocks in the middle of the cube, each in a world of its own, that deform as they fly."""
    rng = np.random.default_rng(0)
    x = 0.4 + 0.2 * rng.uniform(size=(2, 200, 3))
    v = 0.3 * rng.standard_normal((2, 1, 3)) + 4 * (x - x.mean(axis=1, keepdims=True)) @ rng.standard_normal((3, 3))
    given: dict[str, Any] = {"cells": 16, "volume": 0.2**3 / 200, "dt": 2e-4, "substeps": 6, **changes}
    return Scene(x=x, v=v, material=material, **given)


@pytest.mark.parametrize("material", ["fixed_corotated", "neo_hookean", "von_mises"])
def test_momentum_is_that_of_free_fall(material):
    given = scene(material, yield_stress=20.0)
    peer = WarpMpm(given)
    peer.forward()
    v, mean = peer.v[-1].numpy().reshape(given.v.shape), given.v.mean(axis=1)
    fallen = mean + np.array(given.gravity) * given.dt * given.substeps
    np.testing.assert_allclose(v.mean(axis=1), fallen, rtol=1e-4, atol=1e-5)
    assert np.abs(v - given.v).max() > 0.05, "nothing deformed"


def test_the_adjoint_is_the_directional_derivative():
    """With Neo-Hookean, which needs no singular values; in single precision."""
    given, rng = scene("neo_hookean"), np.random.default_rng(1)
    gx, gv, direction = (rng.standard_normal(given.x.shape) for _ in range(3))
    peer = WarpMpm(given)
    peer.record()
    found = float((peer.backward(gx, gv)[1] * direction).sum())

    def value(step: float) -> float:
        peer.v[0].assign((given.v + step * direction).reshape(-1, 3).astype(np.float32))
        peer.forward()
        out = zip((peer.x[-1], peer.v[-1]), (gx, gv), strict=True)
        return float(sum((a.numpy().astype(np.float64).reshape(g.shape) * g).sum() for a, g in out))

    h = 1e-2
    assert found == pytest.approx((value(h) - value(-h)) / (2 * h), rel=2e-3)


def test_a_material_without_a_peer_is_named():
    with pytest.raises(ValueError, match="material 'fluid' has no peer; choose from fixed_corotated, neo_hookean"):
        scene("fluid")
