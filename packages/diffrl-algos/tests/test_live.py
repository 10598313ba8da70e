"""The live view of a run: it follows the checkpoints, leaves training its bits, and ends with it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from diffrl_algos import CheckpointError, UsageError
from diffrl_algos._live import Live, watch_run
from diffrl_algos._run import Run
from diffrl_algos._session import resume_run
from diffrl_algos.cli import main

SMALL = ["--horizon", "4", "--num-envs", "3", "--actor-hidden", "8", "--critic-hidden", "8", "--iterations", "4"]
OPTIONS = [*SMALL, "--task-option", "episode_length=12", "--eval-episodes", "3", "--checkpoint-every", "2"]


def train(out: Path, *more: str) -> int:
    return main(["train", "shac", "cartpole", *OPTIONS, "--out", str(out), *more])


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class View:
    """What was shown, instead of a page."""

    def __init__(self):
        self.shown, self.said, self.curves = [], [], {}

    def show(self, motion, note):
        self.shown.append((motion, note))

    def say(self, text):
        self.said.append(text)

    def plot(self, name, x, y):
        self.curves[name] = np.array([x, y])


def waits(*actions):
    """A ``wait`` that does these things in turn and then ends it."""
    left = list(actions)

    def wait(seconds):
        if not left:
            return True
        left.pop(0)()
        return False

    return wait


def test_each_new_checkpoint_is_shown_once(tmp_path):
    run, view = tmp_path / "run", View()
    assert train(run, "--stop-after", "2") == 0
    nothing = lambda: None  # noqa: E731
    count = watch_run(run, view, waits(nothing, lambda: resume_run(run), nothing), worlds=2, seconds=0.1)
    assert count == 2 and [note for _, note in view.shown] == ["after 2 updates", "after 4 updates"]
    (first, _), (last, _) = view.shown
    assert (first.num_frames, first.num_worlds, first.name) == (6, 2, "cartpole")
    assert not np.array_equal(first.position, last.position)
    lines = [line for line in Run.open(run).metrics() if line["return_mean"] is not None]
    (curve,) = view.curves.values()
    np.testing.assert_array_equal(curve, [[x["env_steps"] for x in lines], [x["return_mean"] for x in lines]])
    again = View()
    assert watch_run(run, again, waits(nothing), worlds=2, seconds=0.1, which="2") == 1
    np.testing.assert_array_equal(again.shown[0][0].position, first.position)


def test_a_run_without_a_checkpoint_is_waited_for_and_a_damaged_one_is_named(tmp_path):
    run, view = tmp_path / "run", View()
    assert train(run) == 0
    kept = sorted((run / "checkpoints").iterdir())
    (aside := tmp_path / "aside").mkdir()
    for file in kept:
        file.rename(aside / file.name)

    def back():
        for file in aside.iterdir():
            file.rename(run / "checkpoints" / file.name)

    assert watch_run(run, view, waits(back), worlds=1, seconds=0.1) == 1
    assert "no checkpoint yet; there is one every 2 updates" in view.said[0]
    (run / "checkpoints" / "00000004.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="00000004"):
        watch_run(run, view, waits(), worlds=1, seconds=0.1)


def test_training_with_a_live_view_has_the_same_bits(tmp_path, capfd):
    pytest.importorskip("viser")
    port = free_port()
    assert train(tmp_path / "plain") == 0
    assert train(tmp_path / "live", "--live", "--port", port) == 0
    assert f"live view: http://127.0.0.1:{port}" in capfd.readouterr().err
    files = [sorted((tmp_path / name / "checkpoints").glob("*.safetensors")) for name in ("plain", "live")]
    assert [file.name for file in files[0]] == [file.name for file in files[1]] and files[0]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
    with socket.socket() as probe:  # the page is gone
        probe.bind(("127.0.0.1", int(port)))


def test_a_view_that_fails_is_told_and_training_goes_on(tmp_path, capfd):
    pytest.importorskip("viser")
    live = Live(tmp_path / "nowhere", int(free_port()))
    live.on_start(type("State", (), {"env": _cartpole()}), 0.0)
    assert live._child is not None and live._child.wait(300) != 0  # it gives way to all else
    live.on_update(None)  # pyright: ignore[reportArgumentType]
    assert "the live view has ended: " in (said := capfd.readouterr().err) and "nowhere is not a run folder" in said
    live.on_stop(None, "finished")


def _cartpole():
    import diffsim_core

    return diffsim_core.make("cartpole", num_envs=1)


def test_what_cannot_be_shown_is_refused_before_anything_is_trained(tmp_path, capfd, monkeypatch):
    def refused(*arguments: object) -> str:
        capfd.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        return capfd.readouterr().err

    pytest.importorskip("viser")
    run = tmp_path / "run"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = f"--live: port {port} of 127.0.0.1 cannot be opened"
        assert words in refused("train", "shac", "cartpole", *OPTIONS, "--out", run, "--live", "--port", port)
        assert not run.exists()
        assert train(run) == 0
        assert words in refused("play", run, "--live", "--port", port)
    assert "--live writes no file; remove --html" in refused("play", run, "--live", "--html", "a.html")
    assert "is not a run folder" in refused("play", tmp_path / "none", "--live", "--port", free_port())
    with pytest.raises(UsageError, match="only rigid bodies"):
        Live(run, int(free_port())).on_start(type("State", (), {"env": object()}), 0.0)
    monkeypatch.setitem(sys.modules, "viser", None)
    assert "pip install 'diffsim-core[live]'" in refused("play", run, "--live", "--port", free_port())
