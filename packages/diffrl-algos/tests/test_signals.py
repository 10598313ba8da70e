"""Told to end, at any moment: what was learned is saved, what is left is whole, and it goes on."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import diffsim_core
from diffrl_algos import Budget, Callback, UsageError, train
from diffrl_algos._callbacks import Checkpointer
from diffrl_algos._run import Run
from diffrl_algos._session import resume_run, start_run
from diffrl_algos._signals import Interrupted, exit_code, stop_on_signals
from diffrl_algos.cli import main

from . import kills
from .test_family import NAMES, build, same_bits
from .test_run import spec

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
SIGNALS = [signal.Signals[name] for name in kills.SIGNALS]


def tell(number):
    os.kill(os.getpid(), number)


class Swallows:
    """A destructor that a signal interrupts. Python says so, and ignores what is raised there."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        tell(self.number)


swallowed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def run_spec(name="shac", **changes):
    config = build(name, iterations=6).config
    values = {"algorithm": name, "config": config, "budget": Budget(iterations=6), "num_envs": 2, "eval_episodes": 2}
    values |= {"checkpoint_every": 100}
    return spec(**{**values, "task_options": {"limit": 0.9, "horizon": 5}, **changes})


class At(Callback):
    """Does something when told of an update, or at another event."""

    def __init__(self, iteration, act, event="on_update"):
        self.iteration, self.act, self.event = iteration, act, event

    def on_start(self, state, fraction):
        if self.event == "on_start":
            self.act()

    def on_update(self, update):
        if self.event == "on_update" and update.metrics["iteration"] == self.iteration:
            self.act()


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_noted_where_they_are_held_and_raise_elsewhere(number):
    before = [signal.getsignal(one) for one in SIGNALS]
    with stop_on_signals() as stop:
        with stop.held():
            tell(number)
            assert stop.received == number.name and exit_code(stop.received) == 128 + number
            for again in (signal.SIGTERM, signal.SIGHUP):  # a batch system may send several
                tell(again)
            with pytest.raises(Interrupted, match=f"stopped by {number.name}"):
                tell(signal.SIGINT)
        with pytest.raises(Interrupted):
            tell(number)
    assert [signal.getsignal(one) for one in SIGNALS] == before and exit_code(None) == 0


@swallowed
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_swallowed_is_known_further_in_and_further_out(number):
    with stop_on_signals() as outer:
        outer.obey()
        with stop_on_signals() as inner:
            Swallows(number)
            with stop_on_signals() as innermost, innermost.held():
                assert innermost.received == number.name
                with pytest.raises(Interrupted):
                    tell(signal.SIGINT)
            with pytest.raises(Interrupted):  # no longer held
                tell(number)
        for stop in (inner, outer):
            with pytest.raises(Interrupted, match=f"{number.name} was lost on its way"):
                stop.obey()
    with stop_on_signals() as later:
        later.obey()


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            tell(signal.SIGHUP)
            assert stop.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


class Failing:
    """An environment whose step number ``steps`` raises."""

    def __init__(self, env, steps, error):
        self.env, self.spec, self.num_envs, self.left, self.error = env, env.spec, env.num_envs, steps, error

    def reset(self, seed):
        return self.env.reset(seed)

    def step(self, state, action):
        self.left -= 1
        if not self.left:
            raise self.error
        return self.env.step(state, action)


@pytest.mark.parametrize("error", [KeyboardInterrupt("second"), ConnectionError("a worker is gone")])
@pytest.mark.parametrize("name", NAMES)
def test_whatever_ends_an_update_the_one_before_is_saved(name, error, tmp_path, worlds):
    """Every algorithm, those with a replay buffer too; and it is the same state as without the failure."""
    algorithm, described = build(name), run_spec(name)
    first, _ = algorithm.update(algorithm.init(worlds(2), 1))
    arrays = algorithm.to_arrays(first)
    run = Run.create(tmp_path / "run", described, arrays)
    env = Failing(worlds(2), 10**9, error)
    state, _ = algorithm.update(algorithm.init(env, 1))

    def fail():
        env.left = 2

    with pytest.raises(type(error)) as raised:
        train(algorithm, env, state=state, callbacks=[At(2, fail), Checkpointer(run, algorithm)])
    assert raised.value is error
    saved, manifest = run.load(whole=True)
    assert manifest.iteration == 2
    restored = algorithm.from_arrays(algorithm.init(worlds(2), 1), saved)
    assert same_bits(restored, algorithm.update(first)[0])


def test_a_callback_that_fails_does_not_keep_the_others_from_saving(worlds):
    stopped = []

    class Bad(Callback):
        def on_update(self, update):
            if update.metrics["iteration"] == 2:
                raise RuntimeError("a logger")

        def on_stop(self, update, status):
            raise OSError("once more")

    class Good(Callback):
        def on_stop(self, update, status):
            stopped.append((update.metrics["iteration"], status))

    class Never(Callback):
        def on_start(self, state, fraction):
            raise UsageError("cannot start")

        def on_stop(self, update, status):
            raise AssertionError

    with pytest.raises(RuntimeError, match="a logger") as raised:
        train(build("shac"), worlds(2), callbacks=[Bad(), Good()])
    assert stopped == [(1, "failed")] and raised.value.__notes__ == ["then Bad failed: once more"]
    with pytest.raises(UsageError, match="cannot start"):
        train(build("shac"), worlds(2), callbacks=[Never()])


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_told_to_end(number, tmp_path, monkeypatch):
    """Before its first update, in the last one, and in the evaluation: it says so, and goes on to the same end."""
    path, whole = tmp_path / "run", start_run(run_spec(), tmp_path / "whole")
    early = start_run(run_spec(), path, callbacks=[At(0, lambda: tell(number), "on_start")])
    assert early.items() >= {"status": "interrupted", "iterations": 0, "signal": number.name}.items()
    late = resume_run(path, callbacks=[At(6, lambda: tell(number))])
    assert late.items() >= {"status": "interrupted", "iterations": 6, "signal": number.name, "episodes": 0}.items()
    with monkeypatch.context() as patched:
        patched.setattr("diffrl_algos._session.evaluate", lambda *_, **__: tell(number))
        again = resume_run(path)
    assert again.items() >= {"status": "interrupted", "iterations": 6, "signal": number.name}.items()
    assert resume_run(path)["return_mean"] == whole["return_mean"]


def test_a_second_ctrl_c_in_a_checkpoint_leaves_a_readable_one(tmp_path, monkeypatch):
    """Cut off wherever a file is written or moved: the checkpoint of this update or of the one before is there."""
    for place in ("write_atomic", "save_rows", "drop_rows", "remove_checkpoint"):
        module = "diffrl_algos._checkpoint" if place == "write_atomic" else "diffrl_algos._run"
        whole = getattr(sys.modules[module], place)
        for cut in range(1, 4):
            path, calls = tmp_path / f"{place}-{cut}", [0]

            def act(*given, real=whole, calls=calls, cut=cut, **options):
                calls[0] += 1
                if calls[0] == 4 + cut:
                    raise KeyboardInterrupt
                return real(*given, **options)

            with monkeypatch.context() as patched:
                patched.setattr(f"{module}.{place}", act)
                with contextlib.suppress(KeyboardInterrupt):
                    start_run(run_spec("sac", checkpoint_every=1, keep_checkpoints=1), path)
            run = Run.open(path)
            done = len(run.metrics())
            assert run.load(whole=True)[1].iteration >= done - 1
            assert resume_run(path)["iterations"] == 6, (place, cut)


def test_the_command_says_how_to_go_on(tmp_path, capfd, monkeypatch):
    run = tmp_path / "run"
    separate = ["--task-option", "fused=false"]  # whose steps are calls of TaskEnv.step
    arguments = ["train", *kills.KINDS["torch"], *separate, "--iterations", "6", "--out", str(run)]
    real = diffsim_core.TaskEnv.step

    def step(self, state, action, calls=[0]):  # noqa: B006
        calls[0] += 1
        for _ in range(2 if calls[0] == 10 else 0):
            tell(signal.SIGINT)
        return real(self, state, action)

    with monkeypatch.context() as patched:
        patched.setattr(diffsim_core.TaskEnv, "step", step)
        assert main(arguments) == 130
    said = capfd.readouterr().err.splitlines()[-1]
    want = "stopped at once; the last checkpoint is of iteration 2: go on with: "
    assert said == f"diffrl: {want}diffrl train --resume {run} --trust-imports"
    assert main(["train", "--resume", str(run), "--import", kills.TOY]) == 0

    def broken(self, state, action):
        raise ConnectionError("the simulator is gone")

    with monkeypatch.context() as patched:
        patched.setattr(diffsim_core.TaskEnv, "step", broken)
        assert main([*arguments[:-1], str(tmp_path / "other")]) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert "ConnectionError: the simulator is gone; go on with: diffrl train --resume" in line


def change(monkeypatch, place, act):
    """Do something before the function at ``place``."""
    module, name = place.rsplit(".", 1)
    real = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(place, lambda *given, **options: (act(), real(*given, **options))[1])


def train_arguments(path):
    return ["train", *kills.KINDS["torch"], "--iterations", "6", "--out", str(path), "--json"]


@swallowed
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("place", "updates"), [("cli._train.spec_of", 0), ("_session.started", 0), ("_session.evaluate", 6)]
)
def test_training_stops_after_a_signal_that_was_swallowed(place, updates, number, tmp_path, capfd, monkeypatch):
    """Before it had begun, while it was made, and in the evaluation at the end."""
    with monkeypatch.context() as patched:
        change(patched, f"diffrl_algos.{place}", lambda: Swallows(number))
        assert main(train_arguments(tmp_path / "run")) == 128 + number
    said = json.loads(capfd.readouterr().out)
    assert said.items() >= {"status": "interrupted", "iterations": updates, "signal": number.name}.items()
    assert main(["train", "--resume", str(tmp_path / "run"), "--import", kills.TOY, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["iterations"] == 6


@swallowed
@pytest.mark.parametrize("number", SIGNALS)
def test_other_commands_end_at_once_or_say_that_they_could_not(number, tmp_path, capfd, monkeypatch):
    handlers = [signal.getsignal(one) for one in SIGNALS]
    run = tmp_path / "run"
    assert main(train_arguments(run)) == 0
    capfd.readouterr()
    for act, printed, words in (
        (tell, False, f"stopped by {number.name}"),
        (Swallows, True, f"{number.name} was lost on its way; something may have been cut off"),
    ):
        with monkeypatch.context() as patched:
            change(patched, "diffrl_algos._session.evaluate", lambda act=act: act(number))
            assert main(["eval", str(run), "--import", kills.TOY, "--json"]) == 128 + number
        out, err = capfd.readouterr()
        assert bool(out) == printed and err.splitlines()[-1] == f"diffrl: {words}"
    assert main(["eval", str(run), "--import", kills.TOY]) == 0
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


def test_a_live_view_that_a_signal_ends_has_succeeded(capfd, monkeypatch):
    view = SimpleNamespace(address="http://nowhere")

    def watch(path, view, wait, **options):
        tell(signal.SIGINT)
        return int(wait(60.0))

    monkeypatch.setattr("diffrl_algos.cli._play.watch_run", watch)
    monkeypatch.setattr("diffrl_algos.cli._play.live_view", lambda port: contextlib.nullcontext(view))
    monkeypatch.setattr("diffrl_algos.cli._play.imported_for", lambda *_: contextlib.nullcontext())
    assert main(["play", "run", "--live"]) == 0
    assert "showed 1 policies" in capfd.readouterr().out


def test_a_command_in_another_thread_leaves_signals_alone(monkeypatch):
    before, seen = [signal.getsignal(one) for one in SIGNALS], []
    change(monkeypatch, "diffrl_algos.cli._list.run", lambda: seen.extend(signal.getsignal(one) for one in SIGNALS))
    thread = threading.Thread(target=lambda: seen.append(main(["list", "algos"])))
    thread.start()
    thread.join()
    assert seen == [*before, 0]


def campaign(kinds, moments, seed):
    """In a process of its own, which forks."""
    command = [sys.executable, kills.__file__, "--kinds", kinds, "--moments", str(moments), "--seed", str(seed)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(kills.__file__).parent)


def test_random_moments():
    """``python kills.py --moments 20`` tries more moments, and the other kinds of runs."""
    done = campaign("torch,replay", 1, 7)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 12


@pytest.mark.slow
def test_random_moments_of_every_kind():
    pytest.importorskip("gymnasium")
    done = campaign(",".join(kills.KINDS), 2, 8)
    assert done.returncode == 0, done.stdout + done.stderr
