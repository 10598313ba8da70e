"""Types of shapes: what each is drawn as, and one that a user adds, in every viewer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.viewer import Part, _shapes, register_shape, render
from diffsim_core.viewer._encode import encode
from diffsim_core.viewer.live import _mesh
from diffsim_core.viewer.video import _geoms

from .conftest import made_up, shape
from .test_video import needs_gl


def dumb_bell(size):
    """Two balls of radius ``size[0]`` on a bar of length ``2 size[1]``."""
    r, half = size[:2]
    bar = Part("cylinder", (r / 4, r / 4, half))
    return bar, Part("sphere", (r, r, r), half), Part("sphere", (r, r, r), -half)


@pytest.fixture
def bell():
    register_shape("dumb_bell", dumb_bell)
    yield shape("bell", "dumb_bell", 0, 0.2, 0.5)
    del _shapes.PARTS["dumb_bell"]


@pytest.mark.parametrize("kind", ["sphere", "capsule", "box", "cylinder", "ellipsoid", "mesh"])
def test_parts_fill_the_box_of_the_shape(kind):
    """Half extents by MuJoCo's size parameters, and the same ones in the live view."""
    size = (0.1, 0.3, 0.2)
    r, half = size[:2]
    expected = {"sphere": (r, r, r), "capsule": (r, r, half + r), "cylinder": (r, r, half)}.get(kind, size)
    parts = _shapes.PARTS[kind](size)
    reach = np.max([np.array(part.half) + [0, 0, abs(part.z)] for part in parts], axis=0)
    np.testing.assert_allclose(reach, expected)
    vertices, _ = _mesh(shape("x", kind, 0, *size))
    np.testing.assert_allclose(np.abs(vertices).max(axis=0), expected, rtol=0.02)


def test_a_shape_of_ones_own_is_one_entry(bell):
    motion = dataclasses.replace(made_up(frames=2, worlds=1, bodies=1, muscles=0, contacts=0), shapes=(bell,))
    (sent,) = encode(motion)["shapes"]
    assert [part.mesh for part in sent["parts"]] == ["cylinder", "sphere", "sphere"]
    vertices, faces = _mesh(bell)
    np.testing.assert_allclose(np.abs(vertices).max(axis=0), [0.2, 0.2, 0.7], rtol=0.02)
    assert faces.max() == len(vertices) - 1
    assert _geoms(bell)[0] == ("cylinder", (0.05, 0.5, 0.0), 0.0)


@needs_gl
def test_a_video_draws_its_parts_where_they_are(bell):
    """Both balls of a red dumb-bell, one above the other, and hardly anything between them."""
    bell = dataclasses.replace(bell, rgba=(1.0, 0.0, 0.0, 1.0))
    motion = made_up(frames=1, worlds=1, bodies=1, muscles=0, contacts=0)
    still = {"position": np.array([[[[0.0, 0, 1]]]]), "quaternion": np.array([[[[1.0, 0, 0, 0]]]])}
    motion = dataclasses.replace(motion, shapes=(bell,), **still)
    (picture,) = render(motion, [0], width=300, height=200, distance=5.0, elevation=0.0)
    red = (picture[..., 0] > 1.5 * picture[..., 1].astype(int)) & (picture[..., 0] > 60)
    width = red.sum(axis=1)
    rows = np.flatnonzero(width)
    assert 0 < width[(rows[0] + rows[-1]) // 2] < 0.4 * width.max()
    assert width[:100].max() == pytest.approx(width[100:].max(), abs=2)


def test_a_type_exists_once(bell):
    with pytest.raises(ValueError, match="'sphere' exists already"):
        register_shape("sphere", dumb_bell)
