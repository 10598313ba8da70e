"""Soft bodies: what the page decodes is close to what was recorded, it is small, and they are drawn where they are."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import numpy as np
import pytest

from diffsim_core.viewer import Deformable, Motion, render, write_html
from diffsim_core.viewer._encode_deformable import encode_deformable
from diffsim_core.viewer._placing import worlds_aside
from diffsim_core.viewer.live import LiveView

from .browser import Page
from .test_html import needs_browser, pixels
from .test_live import free_port
from .test_video import needs_gl


def cloud(frames: int = 40, worlds: int = 2, points: int = 60, seed: int = 0, **more: Any) -> Deformable:
    """Points on their ways, and a shade that grows in time."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 0.3, (1, worlds, points, 3))
    ways = np.cumsum(rng.normal(scale=1e-3, size=(frames, worlds, points, 3)), axis=0)
    strain = np.linspace(0, 1, frames)[:, None, None] * rng.random((1, worlds, points))
    return Deformable(name="dough", position=start + ways, shades={"strain": strain}, **more)


def tetrahedron() -> Deformable:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    triangles = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    return Deformable(name="tet", position=np.tile(corners, (2, 1, 1, 1)), triangles=np.array(triangles))


def tetrahedron_of(frames: int, worlds: int) -> Deformable:
    """The same in so many frames and worlds."""
    body = tetrahedron()
    return dataclasses.replace(body, position=np.repeat(body.position[:1], frames, 0).repeat(worlds, 1))


def soft(*bodies: Deformable, **more: Any) -> Motion:
    T, N = bodies[0].position.shape[:2]
    begins = np.arange(T)[:, None] * np.ones(N) == 0
    empty = {"bodies": (), "shapes": (), "position": np.zeros((T, N, 0, 3)), "quaternion": np.zeros((T, N, 0, 4))}
    return Motion(**({"name": "soft", "dt": 0.01, "begins": begins, "deformables": bodies} | empty | more))


def decoded(data: dict[str, Any], T: int, N: int, begins: Any) -> Any:
    """What ``_page/soft.js`` does."""
    n = data["points"]
    keys = iter(np.frombuffer(base64.b64decode(data["keys"]), "<u2").reshape(-1, n, 3))
    deltas = iter(np.frombuffer(base64.b64decode(data["deltas"]), "i1").reshape(-1, n, 3))
    steps = np.frombuffer(base64.b64decode(data["steps"]), "<f4").reshape(T, N)
    position = np.zeros((T, N, n, 3))
    for t, w in np.ndindex(T, N):
        if t == 0 or begins[t, w]:
            position[t, w] = data["low"] + next(keys) * np.array(data["keyStep"])
        else:
            position[t, w] = position[t - 1, w] + next(deltas) * np.float64(steps[t, w])
    return position


def test_positions_survive_to_a_fraction_of_a_frames_way():
    body = cloud()
    begins = np.zeros((40, 2), bool)
    begins[0] = begins[17, 1] = True
    body.position[17:, 1] += 0.5  # a new episode
    found = decoded(encode_deformable(body, begins), 40, 2, begins)
    error = np.abs(found - body.position).max(axis=(2, 3))
    ways = np.abs(np.diff(body.position, axis=0)).max(axis=(2, 3))
    ways[16, 1] = 0.0
    assert (error[begins] < 1e-5).all()
    assert (error[1:] <= 1.02 * ways / 254 + 1e-5).all()


def test_shades_survive_to_a_step():
    body = cloud()
    (shade,) = encode_deformable(body, np.zeros((40, 2), bool))["shades"]
    values = np.frombuffer(base64.b64decode(shade["values"]), "u1").reshape(40, 2, 60) / 255
    wanted = np.clip(body.shades["strain"], shade["low"], shade["high"])
    np.testing.assert_allclose(shade["low"] + values * (shade["high"] - shade["low"]), wanted, atol=0.6 / 255)


def test_three_hundred_frames_of_dough_are_under_ten_megabytes(tmp_path):
    body = cloud(frames=300, worlds=1, points=2500)
    body = dataclasses.replace(body, shades={"strain": body.shades["strain"], "plastic flow": body.shades["strain"]})
    assert write_html(soft(body), tmp_path / "dough.html").stat().st_size < 7e6


def test_motions_with_soft_bodies_are_saved_and_cut(tmp_path):
    motion = soft(cloud(rgb=np.random.default_rng(1).random((60, 3)), radius=0.01))
    motion.save(tmp_path / "soft.npz")
    (body,), (again,) = motion.deformables, Motion.load(tmp_path / "soft.npz").deformables
    for name in ("position", "rgb", "triangles"):
        np.testing.assert_array_equal(getattr(again, name), getattr(body, name))
    assert (again.name, again.radius) == (body.name, body.radius)
    np.testing.assert_array_equal(again.shades["strain"], body.shades["strain"])
    (cut,) = motion.select(slice(3, 9), [1]).deformables
    np.testing.assert_array_equal(cut.position, body.position[3:9, 1:])
    np.testing.assert_array_equal(cut.shades["strain"], body.shades["strain"][3:9, 1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": np.zeros((3, 2, 60, 3))}, "position has shape"),
        ({"position": np.full((40, 2, 60, 3), np.nan), "shades": {}}, "not finite"),
        ({"triangles": [[0, 1, 60]]}, "outside 0 to 59"),
        ({"radius": 0.0}, "positive metres"),
        ({"shades": {"strain": np.zeros((40, 2))}}, "shade 'strain' has shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=f"deformable 'dough'.*{message}"):
        dataclasses.replace(soft(cloud()), deformables=(dataclasses.replace(cloud(), **change),))


@needs_browser
def test_the_page_shows_balls_and_surfaces_and_their_shades(tmp_path):
    still = np.tile([[[[0.0, 0, 0.5], [0.3, 0, 0.5]]]], (2, 1, 1, 1))
    red = Deformable(name="balls", position=still, rgb=np.array([1.0, 0, 0]), radius=0.1)
    strain = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
    shaded = dataclasses.replace(red, shades={"strain": strain})
    path = write_html(soft(shaded, tetrahedron()), tmp_path / "soft.html")
    with Page(f"{path.as_uri()}#play=0&elevation=0&azimuth=-90", tmp_path / "home") as page:
        page.drawn()
        before = pixels(page.picture())
        page.key("p")
        after = pixels(page.picture())
        assert "strain" in str(page.evaluate("document.getElementById('readout').textContent"))
        assert not page.evaluate("document.getElementById('error').textContent")
    is_red = (before[..., 0] > 100) & (before[..., 0] > 2.0 * before[..., 1].astype(int))
    is_blue = (after[..., 2] > 60) & (after[..., 2] > 1.5 * after[..., 0].astype(int))
    assert is_red.sum() > 300 and 0.3 < is_blue[is_red].mean() < 0.7


@needs_gl
def test_videos_show_balls_and_surfaces_where_they_are():
    still = np.tile([[[[0.0, 0, 1.0]]]], (2, 1, 1, 1))
    ball = Deformable(name="ball", position=still, rgb=np.array([1.0, 0, 0]), radius=0.5)
    square = np.array([[0.0, -1, 0], [0, 1, 0], [0, 1, 2], [0, -1, 2]])
    wall = Deformable(
        name="wall",
        position=np.tile(square, (2, 1, 1, 1)),
        triangles=np.array([[0, 2, 1], [0, 3, 2]]),
        rgb=np.array([1.0, 0, 0]),
    )
    for body, area in ((ball, np.pi * 0.25 * 100 / 99.75), (wall, 4.0)):
        (picture,) = render(soft(body), [1], width=300, height=200, azimuth=0.0, elevation=0.0, distance=10.0)
        red = (picture[..., 0] > 1.5 * picture[..., 1].astype(int)) & (picture[..., 0] > 60)
        rows, columns = np.nonzero(red)
        assert abs(rows.mean() - 99.5) < 2 and abs(columns.mean() - 149.5) < 2
        pixel = 10.0 * np.tan(np.deg2rad(22.5)) / 100
        assert red.sum() == pytest.approx(area / pixel**2, rel=0.08)


def test_colours_go_along_the_ramp():
    body = cloud()
    low, high = body.shade_range("strain")
    colors = body.colors(39, "strain")
    assert colors.shape == (2, 60, 3) and 0 <= low < high <= 1
    strongest = np.unravel_index(body.shades["strain"][39].argmax(), (2, 60))
    assert colors[strongest][0] > colors[strongest][2]


def test_the_live_view_moves_them(tmp_path):
    pytest.importorskip("viser")
    view = LiveView(free_port())
    try:
        motion = soft(cloud(), tetrahedron_of(40, 2))
        view.show(motion)
        stage = view._stage
        assert stage is not None
        for followed in (None, 1):
            stage.draw(7, followed)
            aside = worlds_aside(motion)
            if followed is not None:
                aside = aside - aside[followed]
                aside[:, :2] -= motion.deformables[0].position[7, followed].mean(axis=0)[:2]
            for body, handles, name in zip(motion.deformables, stage._soft, ("points", "vertices"), strict=True):
                for world, handle in enumerate(handles):
                    found = np.asarray(getattr(handle, name), np.float32)
                    np.testing.assert_allclose(found, body.position[7, world] + aside[world], atol=2e-3)
        view.show(soft(cloud(seed=1), tetrahedron_of(40, 2)))
        assert view._stage is stage
        view.show(soft(cloud(points=50), tetrahedron_of(40, 2)))
        assert view._stage is not stage
    finally:
        view.close()
