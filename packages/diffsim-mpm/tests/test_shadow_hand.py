"""The hand: joints, lengths and directions as published."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_mpm import twin_coupling as twin
from diffsim_mpm.shapes import Box, Capsule
from diffsim_mpm.tasks._shadow_hand import DISTAL, KNUCKLE, MIDDLE, PROXIMAL, WRIST, shadow_hand

HAND = shadow_hand((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))


def tip(q: np.ndarray, link: str = "MF distal") -> np.ndarray:
    """The far end of a link's axis."""
    k = next(k for k, shape in enumerate(HAND.shapes) if shape.name == link)
    pose = twin.poses(HAND, q)[k]
    return pose[9:] + pose[6:9] * HAND.shapes[k].pos[2]


def bent(**degrees: float) -> np.ndarray:
    q = np.zeros(HAND.nq)
    for name, angle in degrees.items():
        q[HAND.names.index(name)] = np.deg2rad(angle)
    return q


def test_it_has_the_joints_and_shapes_of_the_papers_hand() -> None:
    assert HAND.nq == 24 and len(set(HAND.names)) == 24
    kinds = [type(shape) for shape in HAND.shapes]
    assert kinds.count(Capsule) == 16 and kinds.count(Box) == 3
    at_rest = HAND.limits
    assert (at_rest[:, 0] <= 0).all() and (at_rest[:, 1] >= 0).all()
    assert np.rad2deg(at_rest[HAND.names.index("FFJ1")]) == pytest.approx([0, 90])


def test_a_straight_finger_is_as_long_as_its_links() -> None:
    length = WRIST + KNUCKLE + PROXIMAL + MIDDLE + DISTAL
    np.testing.assert_allclose(tip(bent()), [11e-3, 0, length], atol=1e-12)


def test_fingers_bend_to_the_palm_and_the_thumb_across_it() -> None:
    """The palm looks along -y; a fist has the tips of the fingers on it."""
    np.testing.assert_allclose(tip(bent(MFJ2=90)), [11e-3, -(PROXIMAL + MIDDLE + DISTAL), WRIST + KNUCKLE], atol=1e-12)
    half = tip(bent(MFJ2=90, MFJ1=90))
    np.testing.assert_allclose(half, [11e-3, -PROXIMAL, WRIST + KNUCKLE - MIDDLE - DISTAL], atol=1e-12)
    fist = tip(bent(MFJ2=90, MFJ1=90, MFJ0=90))
    np.testing.assert_allclose(fist, [11e-3, -PROXIMAL + DISTAL, WRIST + KNUCKLE - MIDDLE], atol=1e-12)
    for joint in ("THJ3", "THJ2"):
        assert tip(bent(**{joint: 12}), "TH distal")[1] < tip(bent(), "TH distal")[1] - 5e-3
    assert tip(bent(THJ0=-90), "TH distal")[0] < tip(bent(), "TH distal")[0] - 20e-3
    assert tip(bent(WRJ0=28))[1] < -20e-3


def test_it_is_scaled_about_its_wrist() -> None:
    large = shadow_hand((0.5, 0.1, 0.2), (np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0), scale=2.5)
    q = bent(FFJ2=30, LFJ4=20, THJ3=40)
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    for small, big in zip(twin.poses(HAND, q), twin.poses(large, q), strict=True):
        np.testing.assert_allclose(big[9:], [0.5, 0.1, 0.2] + 2.5 * turn @ small[9:], atol=1e-12)
        np.testing.assert_allclose(big[:9].reshape(3, 3), small[:9].reshape(3, 3) @ turn.T, atol=1e-12)
    assert large.shapes[3].rounding == pytest.approx(2.5 * HAND.shapes[3].rounding)
