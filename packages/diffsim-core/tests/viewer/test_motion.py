"""``Motion``: parts of it, its file, and what is wrong with one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from diffsim_core.rigid import HeightField
from diffsim_core.viewer import Contacts, Motion, MusclePaths

from .conftest import made_up, shape


def same(a: Motion, b: Motion) -> None:
    assert (a.name, a.dt, a.bodies, a.shapes, a.notes) == (b.name, b.dt, b.bodies, b.shapes, b.notes)
    for name in ("position", "quaternion", "begins", "activation"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert list(a.curves) == list(b.curves)
    for name, curve in a.curves.items():
        np.testing.assert_array_equal(curve, b.curves[name])
    for group, names in (
        ("muscles", ("width", "muscle", "body", "pos")),
        ("contacts", ("frame", "world", "point", "force")),
    ):
        for name in names:
            np.testing.assert_array_equal(getattr(getattr(a, group), name), getattr(getattr(b, group), name))


def test_a_file_gives_the_same_bits_back(motion, tmp_path):
    hills = HeightField(heights=np.arange(12.0).reshape(3, 4), origin=np.zeros(2), spacing=np.ones(2))
    for k, one in enumerate((motion, dataclasses.replace(motion, terrain=hills, notes=("so it is",)))):
        one.save(tmp_path / f"{k}.npz")
        again = Motion.load(tmp_path / f"{k}.npz")
        same(one, again)
        assert (again.terrain is None) == (one.terrain is None)
    np.testing.assert_array_equal(again.terrain.heights, hills.heights)


def test_a_damaged_file_is_refused(motion, tmp_path):
    path = tmp_path / "m.npz"
    motion.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(good)
        for place in rng.integers(len(bad), size=30):
            bad[place] = rng.integers(256)
        path.write_bytes(bytes(bad))
        try:
            loaded = Motion.load(path)
        except ValueError as error:
            assert "no motion, or damaged" in str(error)
        else:
            assert loaded.num_frames == motion.num_frames
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match="no motion, or damaged"):
        Motion.load(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "other"}).encode(), np.uint8))
    with pytest.raises(ValueError, match="format is 'other'"):
        Motion.load(path)
    with pytest.raises(FileNotFoundError):
        Motion.load(tmp_path / "none.npz")


def test_parts(motion):
    part = motion.select(slice(10, 50), worlds=[2, 0])
    assert (part.num_frames, part.num_worlds) == (40, 2)
    assert part.seconds == pytest.approx(39 / 60)
    np.testing.assert_array_equal(part.position, motion.position[10:50][:, [2, 0]])
    np.testing.assert_array_equal(part.curves["reward"], motion.curves["reward"][10:50][:, [2, 0]])
    for frame, world, old in ((0, 0, 2), (39, 1, 0)):
        here = (part.contacts.frame == frame) & (part.contacts.world == world)
        there = (motion.contacts.frame == frame + 10) & (motion.contacts.world == old)
        assert here.sum() == there.sum() == 2
        np.testing.assert_array_equal(part.contacts.force[here], motion.contacts.force[there])
    same(motion.select(), motion)
    for frames, worlds, words in (
        (slice(5, 5), None, "not empty"),
        (slice(0, 9, 2), None, "has no step"),
        (slice(None), [3], "worlds 0 to 2"),
        (slice(None), [1, 1], "each once"),
        (slice(None), [], "worlds 0 to 2"),
    ):
        with pytest.raises(ValueError, match=words):
            motion.select(frames, worlds)


WRONG = {
    "dt": ({"dt": 0.0}, "dt is 0.0"),
    "shape": ({"quaternion": np.zeros((120, 3, 4, 3))}, r"quaternion has shape \(120, 3, 4, 3\), expected"),
    "no frames": ({"position": np.zeros((0, 3, 4, 3))}, "a frame and a world"),
    "nan": ({"position": np.full((120, 3, 4, 3), np.nan)}, "position has numbers that are not finite"),
    "curve": ({"curves": {"reward": np.zeros(5)}}, r"curves\['reward'\] has shape"),
    "muscle": ({"muscles": MusclePaths(names=("a", "b"), width=np.ones(1))}, r"muscles.width has shape"),
    "body": ({"shapes": (shape("x", "box", 4, 1, 1, 1),)}, "shape 'x' is on body 4"),
    "kind": ({"shapes": (shape("x", "torus", 0, 1),)}, "shape 'x' is of type 'torus': use one of sphere"),
    "size": ({"shapes": (shape("x", "box", 0, 1, np.inf, 1),)}, "size of shape 'x'"),
    "contact": (
        {
            "contacts": Contacts(
                frame=np.array([0, 130]), world=np.zeros(2, int), point=np.zeros((2, 3)), force=np.zeros((2, 3))
            )
        },
        "contacts.frame has indices outside 0 to 119",
    ),
    "order": (
        {
            "contacts": Contacts(
                frame=np.array([3, 1]), world=np.zeros(2, int), point=np.zeros((2, 3)), force=np.zeros((2, 3))
            )
        },
        "contacts are not ordered",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(motion, name):
    change, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(motion, **change)


def test_no_bodies_and_no_extras_are_fine(tmp_path):
    still = made_up(frames=1, worlds=1, bodies=0, muscles=0, contacts=0)
    still.save(tmp_path / "still.npz")
    assert Motion.load(tmp_path / "still.npz").seconds == 0
