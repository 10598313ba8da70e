"""The page: what is in it, that it is small and closed, and, in a browser, that it shows and scrubs."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest

from diffsim_core.rigid import HeightField
from diffsim_core.viewer import Contacts, html_page, write_html

from .browser import Page, find_browser
from .conftest import made_up, shape

needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")


def data_of(page: str) -> dict:
    """The motion that a page holds."""
    (text,) = re.findall(r'<script id="motion" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_numbers_survive_to_half_a_step(motion):
    data = data_of(html_page(motion))
    T, N, nb = motion.position.shape[:3]
    assert (data["frames"], data["worlds"], data["bodies"]) == (T, N, list(motion.bodies))
    root = numbers(data["root"], "<f4").reshape(T, N, 1, 3).astype(float)
    position = root + numbers(data["position"], "<i2").reshape(T, N, nb, 3) * data["positionStep"]
    np.testing.assert_allclose(position, motion.position, atol=0.51 * data["positionStep"])
    assert data["positionStep"] < 1e-4
    quaternion = numbers(data["quaternion"], "<i2").reshape(T, N, nb, 4) / 32767
    np.testing.assert_allclose(quaternion, motion.quaternion, atol=2e-5)
    activation = numbers(data["activation"], "u1").reshape(T, N, -1) / 255
    np.testing.assert_allclose(activation, motion.activation, atol=0.51 / 255)
    for curve, (name, values) in zip(data["curves"], motion.curves.items(), strict=True):
        assert curve["name"] == name
        np.testing.assert_array_equal(numbers(curve["values"], "<f4").reshape(T, N), values)
    assert data["begins"] == [np.flatnonzero(motion.begins[:, w]).tolist() for w in range(N)]
    contacts, rows = data["contacts"], motion.contacts
    count = numbers(contacts["count"], "<u2").reshape(T, N)
    assert (count == 2).all()
    point = numbers(contacts["point"], "<i2").reshape(-1, 3) * contacts["pointStep"]
    np.testing.assert_allclose(
        point + root[rows.frame, rows.world, 0], rows.point, atol=0.51 * contacts["pointStep"] + 1e-6
    )
    force = numbers(contacts["force"], "<i2").reshape(-1, 3) * contacts["forceStep"]
    np.testing.assert_allclose(force, rows.force, atol=0.51 * contacts["forceStep"])


def test_a_thousand_frames_are_under_five_megabytes(tmp_path):
    """As much as humanoid_mtu has: 11 bodies, 152 muscles; four worlds, eight contacts in each at all times."""
    big = made_up(frames=1000, worlds=4, bodies=11, muscles=152, contacts=8)
    assert write_html(big, tmp_path / "big.html").stat().st_size < 5e6


def test_the_page_is_closed(motion):
    page = html_page(motion)
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|<link|\bsrc=|@import|\bfetch\(|XMLHttpRequest|\beval\(", page)
    assert "$" + "style" not in page and page.count("<script") == 2


def test_names_cannot_break_out(motion):
    evil = "</script><script>alert(1)</script><!--"
    page = html_page(dataclasses.replace(motion, name=evil, notes=(evil,), bodies=(evil,) * 4))
    assert page.count("<script") == 2 and "<!--" not in page.split('type="application/json">')[1].split("</script>")[0]
    assert data_of(page)["name"] == evil


def test_too_many_contacts_are_refused():
    one = made_up(frames=1, worlds=1, bodies=1, muscles=0, contacts=0)
    many = Contacts(
        frame=np.zeros(70_000, int), world=np.zeros(70_000, int), point=np.ones((70_000, 3)), force=np.ones((70_000, 3))
    )
    with pytest.raises(ValueError, match="70000 in one frame of a world"):
        html_page(dataclasses.replace(one, contacts=many))


def pixels(png: bytes) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@needs_browser
def test_scrubbing_in_a_browser(motion, tmp_path):
    path = write_html(motion, tmp_path / "page.html")
    with Page(f"{path.as_uri()}#play=0&t=0.5&world=1", tmp_path / "home") as page:
        page.drawn()
        frame = "Number(document.body.dataset.frame)"
        assert page.evaluate(frame) == 30 and page.evaluate("viewer.world") == 1
        first = pixels(page.picture())

        # A drag over the curves ends at the frame under the pointer.
        box = page.box("charts")
        name_width = 128
        y = box["top"] + box["height"] / 2
        x = [box["left"] + name_width + part * (box["width"] - name_width) for part in (0.1, 0.3, 0.75)]
        page.drag(*[(value, y) for value in x])
        assert page.evaluate("viewer.time") == pytest.approx(0.75 * 119, abs=0.2)
        assert page.evaluate(frame) == 89
        assert "1.49 s · frame 89 of 120" in page.evaluate("document.getElementById('readout').textContent")
        later = pixels(page.picture())
        assert (np.abs(later - first).max(axis=2) > 20).mean() > 0.01

        # So does the slider, and keys step; back at the same frame is the same picture.
        slider = page.box("scrub")
        page.drag((slider["left"] + 0.2 * slider["width"], slider["top"] + slider["height"] / 2))
        assert abs(page.evaluate(frame) - 0.2 * 119) < 5
        page.key("Home")
        for _ in range(3):
            page.key("ArrowRight")
        assert page.evaluate(frame) == 3
        page.key("End")
        assert page.evaluate(frame) == 119
        page.evaluate("viewer.seek(30)")
        page.drawn()
        assert np.abs(pixels(page.picture()) - first).max() <= 2  # the compositor rounds

        # Time passes when it plays, and slowly when it should.
        page.key(",")
        assert page.evaluate("viewer.speed") == 0.5
        page.key(" ")
        page.evaluate("new Promise((done) => setTimeout(done, 300))")
        page.key(" ")
        moved = page.evaluate("viewer.time") - 30
        assert moved > 0 and page.evaluate("viewer.playing") is False

        # What the page unpacks is what was recorded.
        for t, world, body in ((0, 0, 0), (57, 2, 3), (119, 1, 2)):
            pose = page.evaluate(f"viewer.motion.pose({t}, {world}, {body})")
            np.testing.assert_allclose(pose["position"], motion.position[t, world, body], atol=1e-4)
            np.testing.assert_allclose(pose["quaternion"], motion.quaternion[t, world, body], atol=1e-4)
        contacts = page.evaluate("viewer.motion.contactsAt(57, 2)")
        rows = (motion.contacts.frame == 57) & (motion.contacts.world == 2)
        np.testing.assert_allclose([c["force"] for c in contacts], motion.contacts.force[rows], atol=0.1)
        np.testing.assert_allclose([c["point"] for c in contacts], motion.contacts.point[rows], atol=1e-3)
        assert page.evaluate("viewer.motion.activationOf(57, 2, 1)") == pytest.approx(
            motion.activation[57, 2, 1], abs=0.003
        )
        returns = page.evaluate("Array.from(viewer.motion.curves[1].values)")
        np.testing.assert_allclose(np.reshape(returns, (120, 3)), sums(motion), atol=1e-4)
        assert page.evaluate("viewer.motion.episode(119, 0)") == motion.begins[:, 0].sum()
        assert page.requests == [path.as_uri()]


def sums(motion) -> np.ndarray:
    """Rewards of an episode so far."""
    total = np.zeros(motion.begins.shape)
    for t in range(motion.num_frames):
        before = np.where(motion.begins[t], 0, total[t - 1]) if t else 0
        total[t] = before + motion.curves["reward"][t]
    return total


@needs_browser
def test_toggles_themes_and_uneven_ground(tmp_path):
    hills = HeightField(heights=np.sin(np.arange(400.0)).reshape(20, 20), origin=-10 * np.ones(2), spacing=np.ones(2))
    motion = dataclasses.replace(made_up(worlds=2), terrain=hills, shapes=(shape("ball", "sphere", 0, 0.5),))
    path = write_html(motion, tmp_path / "page.html")
    with Page(f"{path.as_uri()}#play=0&theme=light", tmp_path / "home", (500, 460)) as page:
        page.drawn()
        seen = [pixels(page.picture())]
        for key in "cmt":
            page.key(key)
            seen.append(pixels(page.picture()))
            assert (np.abs(seen[-1] - seen[-2]).max(axis=2) > 20).sum() > 20, key
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate("viewer.scene.overlaid") is True
        page.evaluate("viewer.act('o')")
        assert page.evaluate("viewer.scene.overlaid") is True  # where the ground is uneven, worlds stay where they are
        page.key("h")
        assert page.evaluate("document.getElementById('help').hidden") is False
        page.key("Escape")
        assert page.evaluate("document.getElementById('help').hidden") is True
        page.key("w")
        assert page.evaluate("viewer.world") == 1
        before = page.evaluate("[viewer.camera.azimuth, viewer.camera.distance]")
        page.drag((250, 150), (300, 160))
        page.send("Input.dispatchMouseEvent", type="mouseWheel", x=250, y=150, deltaX=0, deltaY=200)
        page.drawn()
        after = page.evaluate("[viewer.camera.azimuth, viewer.camera.distance]")
        assert after[0] < before[0] and after[1] > before[1]


@needs_browser
def test_without_webgl_it_is_said(motion, tmp_path):
    path = write_html(motion, tmp_path / "page.html")
    with Page(path.as_uri(), tmp_path / "home", (500, 400), "--disable-3d-apis") as page:
        assert page.evaluate("document.getElementById('error').hidden") is False
        assert "this page needs WebGL 2" in page.evaluate("document.getElementById('error').textContent")


@needs_browser
def test_a_notebook_shows_a_motion_in_a_frame(motion, tmp_path):
    frame = motion._repr_html_()
    assert frame.startswith("<iframe sandbox") and frame.count("<") == 2  # the page is an attribute
    path = tmp_path / "cell.html"
    path.write_text(f"<body style='margin: 0; background: #f0f'>{frame}</body>", encoding="utf-8")
    with Page(path.as_uri(), tmp_path / "home", (600, 480)) as page:
        page.evaluate("new Promise((done) => setTimeout(done, 1500))")
        shown = pixels(page.picture())
        moved = False
        for _ in range(40):  # a busy machine draws few pictures
            page.evaluate("new Promise((done) => setTimeout(done, 500))")
            moved = moved or (np.abs(pixels(page.picture()) - shown).max(axis=2) > 20).any()
            if moved:
                break
    assert (shown != [255, 0, 255]).any(axis=2).mean() > 0.95
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 200
    assert moved  # it plays
