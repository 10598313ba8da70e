"""Pictures through MuJoCo's renderer, and what is said where they cannot be drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.rigid import HeightField
from diffsim_core.viewer import render, video, write_video

from .conftest import made_up, shape


def has_gl() -> bool:
    try:
        with video._context(8, 8):
            return True
    except RuntimeError:
        return False


needs_gl = pytest.mark.skipif(not has_gl(), reason="no OpenGL here")


@needs_gl
def test_shapes_are_drawn_where_they_are():
    """A red ball in front of a distant camera covers the pixels that the perspective says."""
    motion = made_up(frames=2, worlds=1, bodies=1, muscles=0, contacts=0)
    ball = dataclasses.replace(shape("ball", "sphere", 0, 0.5), rgba=(1.0, 0.0, 0.0, 1.0))
    position = np.array([[[[0.0, 0, 1]]], [[[0.0, 0, 1]]]])
    motion = dataclasses.replace(motion, shapes=(ball,), position=position)
    (picture,) = render(motion, [1], width=300, height=200, distance=10.0, elevation=0.0)
    red = (picture[..., 0] > 1.5 * picture[..., 1].astype(int)) & (picture[..., 0] > 60)
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - 99.5) < 2 and abs(columns.mean() - 149.5) < 2
    # 45 degrees of view over 200 rows: half a metre at 10 m is this many.
    radius = 0.5 / np.sqrt(10**2 - 0.5**2) / np.tan(np.deg2rad(22.5)) * 100
    assert red.sum() == pytest.approx(np.pi * radius**2, rel=0.06)


@needs_gl
def test_everything_at_once_moves():
    hills = HeightField(heights=np.sin(np.arange(400.0)).reshape(20, 20), origin=-10 * np.ones(2), spacing=np.ones(2))
    for motion in (made_up(), dataclasses.replace(made_up(), terrain=hills)):
        a, b = render(motion, [3, 100], world=2, width=160, height=120)
        assert a.shape == (120, 160, 3) and a.dtype == np.uint8
        assert (np.abs(a.astype(int) - b).max(axis=2) > 20).mean() > 0.02


@needs_gl
def test_videos_have_the_right_length(tmp_path):
    iio = pytest.importorskip("imageio.v3")
    motion = made_up(frames=60)
    for suffix in (".gif", ".mp4"):
        path = write_video(motion, tmp_path / f"clip{suffix}", width=96, height=64, fps=20, speed=0.5)
        frames = iio.imread(path)
        assert frames.shape == (40, 64, 96, 3)  # 1 s at half speed, 20 pictures a second


def test_without_opengl_it_is_said(motion, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    monkeypatch.setattr(video, "_PLATFORMS", ("nowhere",))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    with pytest.raises(RuntimeError, match=r"no OpenGL to draw with .nowhere: .* or write an HTML page"):
        write_video(motion, tmp_path / "clip.gif")


def test_what_makes_no_sense_is_named(motion, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"to be a \.avi; use \.gif or \.mp4"):
        write_video(motion, tmp_path / "clip.avi")
    for options, words in (
        ({"world": 3}, "world=3: the motion has 3 worlds"),
        ({"width": 0}, "width=0"),
        ({"frames": [120]}, "the motion has 120 frames"),
    ):
        with pytest.raises(ValueError, match=words):
            render(motion, **{"frames": [0], **options})
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'diffsim-core\[video\]'"):
        write_video(motion, tmp_path / "clip.gif")
