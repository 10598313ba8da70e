"""The live view: shapes are where the motion says, a browser sees them move, and what cannot be opened is named."""

from __future__ import annotations

import dataclasses
import re
import socket
import sys

import numpy as np
import pytest

from diffsim_core.rigid import HeightField
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.viewer._placing import muscle_lines, place, worlds_aside
from diffsim_core.viewer.live import LiveView, check_live

from .browser import Page, find_browser
from .conftest import made_up
from .test_html import pixels

needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def turned(motion, quat=(0.5, 0.5, -0.5, 0.5), pos=(0.1, 0.2, 0.3)):
    """The same motion with shapes that are not in the middle of their bodies."""
    shapes = tuple(dataclasses.replace(shape, quat=quat, pos=pos) for shape in motion.shapes)
    return dataclasses.replace(motion, shapes=shapes)


def test_shapes_are_placed_by_their_bodies(motion):
    motion = turned(motion)
    for shape in motion.shapes:
        placed = place(motion, 7, shape)
        for world in range(motion.num_worlds):
            position, quat = np.zeros(3), np.array([1.0, 0, 0, 0])
            if shape.body >= 0:
                position = motion.position[7, world, shape.body].astype(float)
                quat = motion.quaternion[7, world, shape.body].astype(float)
            expected = position + rotation(quat) @ np.array(shape.pos)
            np.testing.assert_allclose(placed.position[world], expected, atol=1e-6)
            np.testing.assert_allclose(placed.quaternion[world], quat_mul(quat, np.array(shape.quat)), atol=1e-6)


def test_muscles_run_between_their_bodies(motion):
    ends, colors = muscle_lines(motion, 5)
    paths = motion.muscles
    assert ends.shape == (3, len(paths.muscle), 2, 3) and colors.shape == (3, len(paths.muscle), 3)
    for world, segment, end in np.ndindex(3, len(paths.muscle), 2):
        body, pos = paths.body[segment, end], paths.pos[segment, end]
        if body >= 0:
            pos = motion.position[5, world, body] + rotation(motion.quaternion[5, world, body].astype(float)) @ pos
        np.testing.assert_allclose(ends[world, segment, end], pos, atol=1e-6)
    tense = dataclasses.replace(motion, activation=np.ones_like(motion.activation))
    assert (muscle_lines(tense, 5)[1] == [199, 15, 15]).all()


def test_worlds_stand_side_by_side_on_level_ground(motion):
    aside = worlds_aside(motion)
    assert aside[1].tolist() == [0, 0, 0] and aside[2, 1] == -aside[0, 1] > 0.5
    hilly = dataclasses.replace(
        motion, terrain=HeightField(heights=np.zeros((3, 4)), origin=np.zeros(2), spacing=np.ones(2))
    )
    assert not worlds_aside(hilly).any()


@pytest.fixture
def view():
    pytest.importorskip("viser")
    opened = LiveView(free_port())
    yield opened
    opened.close()


def test_the_scene_follows_the_motion(view, motion):
    motion = turned(motion)
    view.show(motion, "first")
    stage, aside = view._stage, worlds_aside(motion)
    stage.draw(9, None)
    assert len(stage._parts) == 4  # the ground is a grid
    for shape, handle in stage._parts:
        placed = place(motion, 9, shape)
        np.testing.assert_allclose(handle.batched_positions, placed.position + aside, atol=1e-5)
        np.testing.assert_allclose(handle.batched_wxyzs, placed.quaternion, atol=1e-6)
    # A world that is followed stays in the middle, and the ground passes by.
    stage.draw(9, 2)
    shape, handle = stage._parts[0]
    gone = motion.position[9, 2, 0] * [1, 1, 0]
    np.testing.assert_allclose(handle.batched_positions[2], place(motion, 9, shape).position[2] - gone, atol=1e-5)
    # The next motion of the same robot takes its place; one of another begins anew.
    view.show(turned(made_up(seed=1)), "second")
    assert view._stage is stage
    view.show(motion.select(worlds=[0, 1]))
    assert view._stage is not stage
    hilly = dataclasses.replace(
        motion, terrain=HeightField(heights=np.zeros((3, 4)), origin=np.zeros(2), spacing=np.ones(2))
    )
    view.show(hilly)
    view._stage.draw(3, 1)
    centre = hilly.position[3, 1, 0] * [1, 1, 0]
    np.testing.assert_allclose(view._stage._ground[-1][0].position, -centre, atol=1e-6)


@needs_browser
def test_a_browser_sees_it_move_and_pauses_it(view, tmp_path):
    view.show(made_up(worlds=1, bodies=3, muscles=0), "of a test")
    view.plot("learning", [0, 1, 2], [0.0, 5.0, 3.0])
    with Page(view.address, tmp_path / "home", (660, 300)) as page:

        def wait(seconds: float) -> None:
            page.evaluate(f"new Promise((done) => setTimeout(done, {1000 * seconds}))")

        def eventually(holds) -> None:
            """A browser that draws in software may take seconds for its first picture."""
            for _ in range(300):
                if holds():
                    return
                wait(0.2)
            raise AssertionError(page.evaluate("document.body.innerText"))

        def text() -> str:
            return str(page.evaluate("document.body.innerText"))

        frames: set[str] = set()

        def moves() -> bool:
            frames.update(re.findall(r"frame \d+ of 120", text()))
            return len(frames) > 4

        eventually(lambda: "made up of a test" in text() and "learning" in text())
        eventually(moves)
        first = pixels(page.picture())
        assert len(np.unique(first.reshape(-1, 3), axis=0)) > 500
        left_of_controls = slice(0, 320)
        eventually(lambda: (np.abs(pixels(page.picture()) - first)[:, left_of_controls].max(axis=2) > 30).sum() > 100)
        boxes = "[...document.querySelectorAll('input[type=checkbox]')]"
        page.evaluate(f"{boxes}.find((box) => box.getBoundingClientRect().width).click()")  # the first is "play"
        eventually(lambda: view._controls._playing.value is False)
        wait(0.3)
        still = view._controls.frame
        eventually(lambda: f"frame {still} of 120" in text())
        wait(0.5)
        assert view._controls.frame == still and f"frame {still} of 120" in text()


def test_what_cannot_be_opened_is_named(monkeypatch):
    pytest.importorskip("viser")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for opened in (LiveView, check_live):
            with pytest.raises(
                ValueError, match=rf"port {port} of 127\.0\.0\.1 cannot be opened \(Address already in use\)"
            ):
                opened(port)
    with pytest.raises(ValueError, match="port is 70000; give one from 1 to 65535"):
        LiveView(70000)
    with pytest.raises(TypeError, match="only rigid bodies can be recorded"):
        check_live(free_port(), env=object())
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match=r"viser, which is not installed: pip install 'diffsim-core\[live\]'"):
        LiveView(free_port())
