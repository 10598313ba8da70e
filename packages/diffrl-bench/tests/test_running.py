"""Running a suite: what is refused before the first run, workers that vanish, budgets, smoke."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diffrl_bench import PlannedRun, RunSettings, Suite, list_suites, load_suite, run_suite
from diffrl_bench._attempts import Attempt, Ended, GuardedProcess, carry_out, session_in
from diffrl_bench._local import LocalEngine
from diffrl_bench._plan import require_same, specs_of
from diffrl_bench._results import read_results
from diffrl_bench._slurm import read_options
from diffrl_bench._suite import smoke_of, with_seeds
from diffrl_bench.cli import main


def _suite(*options: str, seeds: int = 2) -> Suite:
    runs = tuple(PlannedRun(algorithm="shac", task="ant", seed=seed, options=options) for seed in range(seeds))
    return Suite(name="mine", threads=1, runs=runs)


@pytest.fixture
def settings(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> RunSettings:
    return RunSettings(out=tmp_path / "out", command=fake_diffrl)


# Before the first run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"algorithm": "shak"}, r"shak-ant-s0 and 1 more: unknown algorithm 'shak'; did you mean shac"),
        ({"task": "aunt"}, r"shac-aunt-s0 and 1 more: unknown task 'aunt'; did you mean ant"),
        ({"options": ("--gama", "0.9")}, r"shac-ant-s0 and 1 more: unknown option .*'--gama'; did you mean --gamma"),
        (
            {"options": ("--gamma", "2")},
            r"shac-ant-s0 and 1 more: gamma of SHACConfig is '2'; it takes",
        ),
        ({"options": ("--num-envs", "none")}, r"shac-ant-s0 and 1 more: .*--num-envs"),
    ],
)
def test_what_is_wrong_with_a_run_is_named_before_the_first(tmp_path: Path, run: dict, message: str) -> None:
    bad = [replace(one, **run) for one in _suite().runs]
    suite = Suite(name="mine", runs=(PlannedRun(algorithm="shac", task="cartpole", seed=0), *bad))
    with pytest.raises(ValueError, match=f"^{message}.*; nothing was started$"):
        run_suite(suite, RunSettings(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    """The arguments are the same, and a preset has changed since."""
    plan = _suite(seeds=1).runs
    specs = specs_of(plan)
    folder = tmp_path / plan[0].name
    folder.mkdir()
    described = {"format": "diffrl-run-2", **json.loads(json.dumps(specs[plan[0].name].to_json()))}
    (folder / "run.json").write_text(json.dumps(described))
    require_same(tmp_path, specs)
    described["config"]["gamma"], described["num_envs"] = 0.5, 7
    (folder / "run.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"num_envs 7 there and 64 now, config.gamma 0.5 there and 0.99 now; choose"):
        require_same(tmp_path, specs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"on": "cloud"}, "on is 'cloud'; expected local, ray, slurm"),
        ({"max_hours": 0.0}, "max_hours is 0"),
        ({"max_hours": float("nan")}, "max_hours is nan"),
        ({"retries": -1}, "retries is -1"),
        ({"gpus_per_run": 1.5}, "gpus_per_run is 1.5"),
        ({"gpus_per_run": -1.0}, "gpus_per_run is -1"),
        ({"address": "auto"}, "local processes have none"),
        ({"on": "slurm", "address": "auto"}, "for Slurm it is 'local'"),
        ({"slurm": {"partition": "x"}}, "on is not 'slurm'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunSettings(out=tmp_path, **wrong)


def test_options_of_slurm() -> None:
    assert read_options({"partition": "gpu", "timeout_min": "30"}) == {"partition": "gpu", "timeout_min": 30}
    with pytest.raises(ValueError, match=r"--slurm partion=gpu: unknown option; known: partition"):
        read_options({"partion": "gpu"})
    with pytest.raises(ValueError, match=r"--slurm timeout_min=1h: expected int"):
        read_options({"timeout_min": "1h"})


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert LocalEngine(8, 0.5).slots == 4
    with pytest.raises(ValueError, match="needs 3 GPUs, and this machine shows 2"):
        LocalEngine(1, 3)


# Workers that vanish -------------------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
arguments = sys.argv[1:]
marks = Path(sys.argv[1])
arguments = arguments[1:]
folder = Path(arguments[arguments.index("--resume" if "--resume" in arguments else "--out") + 1])
marks.mkdir(exist_ok=True)
count = len(list(marks.glob(f"{folder.name}.*")))
(marks / f"{folder.name}.{count}").touch()
if "s1" in folder.name and count < 2:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text('{"seed": 1}')
    os.kill(os.getpid(), signal.SIGKILL)
os.execv(sys.executable, [sys.executable, os.environ["FAKE"], *arguments])
"""


@pytest.fixture
def killed(tmp_path: Path, fake_diffrl: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A command whose first two attempts at seed 1 are killed."""
    monkeypatch.setenv("FAKE", fake_diffrl[1])
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    return (sys.executable, str(script), str(tmp_path / "marks"))


def test_a_killed_run_goes_on_in_another_worker(settings: RunSettings, killed: tuple[str, ...], tmp_path: Path) -> None:
    said: list[str] = []
    rows = run_suite(_suite(), replace(settings, command=killed, retries=2), said.append)
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert [row["attempts"] for row in rows] == [1, 3]
    assert sum("vanished (exit code -9); another one goes on" in line for line in said) == 2
    assert "--resume" in (settings.out / "shac-ant-s1.log").read_text()
    assert len(list((tmp_path / "marks").iterdir())) == 1 + 3
    assert rows[1]["process_s"] is None, "the time of only a part would mislead"


def test_a_run_that_is_always_killed_is_named(settings: RunSettings, killed: tuple[str, ...]) -> None:
    rows = run_suite(_suite(), replace(settings, command=killed, retries=1))
    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert rows[1]["error"].startswith("its worker vanished 2 times, last on ")
    assert "exit code -9" in rows[1]["error"]
    rows = run_suite(_suite(), replace(settings, command=killed, retries=0))
    assert [row["status"] for row in rows] == ["finished"] * 2, "a later call goes on"


@pytest.mark.parametrize(
    ("ended", "vanished"),
    [
        (Ended(code=0), False),
        (Ended(code=1), False),
        (Ended(code=-signal.SIGSEGV), False),
        (Ended(code=-9), True),
        (Ended(code=128 + 15), True),
        (Ended(), True),
    ],
)
def test_which_ends_are_from_elsewhere(ended: Ended, vanished: bool) -> None:
    assert ended.vanished is vanished


def _attempt(tmp_path: Path, session: Path, command: tuple[str, ...], *options: str) -> Attempt:
    return Attempt(
        folder=str(tmp_path / "run"),
        log=str(tmp_path / "run.log"),
        begin=["train", "shac", "ant", "--seed", "3", *options, "--out", str(tmp_path / "run")],
        resume=["train", "--resume", str(tmp_path / "run")],
        command=list(command),
        cwd=str(tmp_path),
        session=str(session),
        env={"DIFFSIM_NUM_THREADS": "1"},
    )


def test_no_training_outlives_its_worker(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> None:
    """The worker is killed, its guard stops the training, and that writes its checkpoint."""
    code = """
import json, sys, time
from diffrl_bench._attempts import Attempt, GuardedProcess
GuardedProcess(Attempt(**json.loads(sys.argv[1])))
time.sleep(60)
"""
    with session_in(tmp_path) as session:
        work = json.dumps(vars(_attempt(tmp_path, session, fake_diffrl, "--slow", "x")))
        worker = subprocess.Popen([sys.executable, "-c", code, work])
        _until((tmp_path / "run" / "waiting").exists)
        worker.kill()
        worker.wait()
        _until((tmp_path / "run" / "checkpoints" / "00000001.safetensors").exists)


def test_a_worker_of_a_cluster_obeys_the_session(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> None:
    code = """
import json, sys
from diffrl_bench._attempts import carry_out
print(json.dumps(carry_out(json.loads(sys.argv[1]))))
"""
    with session_in(tmp_path) as session:
        attempt = vars(_attempt(tmp_path, session, fake_diffrl, "--slow", "x"))
        command = [sys.executable, "-c", code, json.dumps(attempt)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        _until((tmp_path / "run" / "waiting").exists)
    # The session is over. Its workers stop, and those that come late do nothing.
    out, _ = worker.communicate(timeout=60)
    ended = Ended(**json.loads(out))
    assert ended.code == 128 + signal.SIGTERM and not ended.resumed and ended.machine is not None
    late = Ended(**carry_out(attempt))
    assert late.code == 2 and "does not see the folder of the results" in late.reason


def test_a_finished_run_is_not_run_again(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> None:
    with session_in(tmp_path) as session:
        attempt = _attempt(tmp_path, session, fake_diffrl)
        for _ in range(2):
            process = GuardedProcess(attempt)
            process.wait()
            ended = process.ended()
            assert ended is not None and ended.code == 0
    assert len((tmp_path / "run" / "starts").read_text().splitlines()) == 1


def test_a_command_that_is_not_there_is_named(settings: RunSettings) -> None:
    (row,) = run_suite(_suite(seeds=1), replace(settings, command=("/nowhere/diffrl",)))
    assert row["status"] == "failed"
    assert "FileNotFoundError" in row["error"] and "/nowhere/diffrl" in row["error"]


# Budget, smoke, seeds ------------------------------------------------------------------------------------------------


def test_the_time_is_over(settings: RunSettings) -> None:
    said: list[str] = []
    suite = _suite("--slow", "x", seeds=3)
    rows = run_suite(suite, replace(settings, max_hours=3 / 3600, jobs=2), said.append)
    assert "the time is over: every run writes a checkpoint; the same command continues them" in said
    assert [row["status"] for row in rows] == ["unfinished"] * 2
    assert (settings.out / "shac-ant-s0" / "checkpoints").exists() and not (settings.out / "shac-ant-s2").exists()
    runs = (*suite.runs[:2], *_suite(seeds=3).runs[2:])
    rows = run_suite(replace(suite, runs=runs), settings)
    assert [row["status"] for row in rows] == ["finished"] * 3


def test_smoke_is_small_marked_and_never_mixed(settings: RunSettings) -> None:
    smoke = smoke_of(_suite(seeds=3))
    assert [run.name for run in smoke.runs] == ["shac-ant-s0"]
    assert smoke.runs[0].options == ("--iterations", "2", "--num-envs", "4", "--eval-episodes", "4")
    (row,) = run_suite(smoke, settings)
    assert row["smoke"] is True
    with pytest.raises(ValueError, match=r"holds a smoke \(shac-ant-s0\), and this is results; choose another --out"):
        run_suite(_suite(), settings)
    other = replace(settings, out=settings.out.with_name("real"))
    assert "smoke" not in run_suite(_suite(), other)[0]
    with pytest.raises(ValueError, match=r"holds results \(shac-ant-s0\), and this is a smoke"):
        run_suite(smoke, other)


@pytest.mark.slow
def test_every_smoke_is_a_run_that_trains() -> None:
    """Every suite that ships, down to the last option."""
    plan = [run for name in list_suites() for run in smoke_of(load_suite(name)).runs]
    specs = specs_of([replace(run, variant=f"{k}") for k, run in enumerate(plan)])
    assert len(specs) == len(plan)
    assert {spec.num_envs for spec in specs.values()} == {4}


def test_seeds_replace_those_of_the_suite() -> None:
    suite = load_suite("gippo-functions")
    five = with_seeds(suite, 2)
    assert {run.seed for run in five.runs} == {0, 1}
    assert len(five.runs) == 2 * len({(run.algorithm, run.task) for run in suite.runs})
    with pytest.raises(ValueError, match="seeds is 0"):
        with_seeds(suite, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "SUITE is missing; there are agpo-aobg"),
        (["run", "--smoke", "--out", "x"], "--out is the folder of one suite"),
        (["run", "shac-jax", "--slurm", "partition"], "expected NAME=VALUE"),
        (["run", "shac-jax", "--seeds", "0"], "seeds is 0"),
        (["run", "shac-jax", "--max-hours", "-1"], "max_hours is -1"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_and_nothing_is_lost(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffrl_bench import _runner

    real, count = _runner.append_row, [0]

    def full(file: Path, row: dict) -> None:
        count[0] += 1
        if count[0] == 4:
            raise OSError(28, "No space left on device", str(file))
        real(file, row)

    monkeypatch.setattr(_runner, "append_row", full)
    with pytest.raises(OSError, match=r"No space left on device: .*results\.jsonl"):
        run_suite(_suite(seeds=3), settings)
    assert [row["status"] for row in read_results(settings.out)] == ["finished", "unfinished"]
    rows = run_suite(_suite(seeds=3), settings)
    assert [row["status"] for row in rows] == ["finished"] * 3
    starts = [len((settings.out / f"shac-ant-s{k}" / "starts").read_text().splitlines()) for k in range(3)]
    assert starts == [1, 1, 1], "the run whose row was lost was finished, and its row comes from its folder"


def _until(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)
