"""Running a suite: nothing twice, failures apart, interruptions without loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffrl_algos import RunError
from diffrl_bench import PlannedRun, RunSettings, Suite, run_suite
from diffrl_bench._record_file import check_file
from diffrl_bench._results import curves_of, read_results


def _suite(*options: str, seeds: int = 3, jobs: int = 1) -> Suite:
    runs = (PlannedRun(algorithm="shac", task="ant", seed=seed, options=options) for seed in range(seeds))
    return Suite(name="mine", jobs=jobs, threads=2, runs=tuple(runs))


def _starts(out: Path, seed: int) -> int:
    file = out / f"shac-ant-s{seed}" / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def settings(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> RunSettings:
    return RunSettings(out=tmp_path / "out", command=fake_diffrl)


def test_rows_files_and_no_second_time(settings: RunSettings) -> None:
    said: list[str] = []
    rows = run_suite(_suite(), settings, said.append)
    assert [row["run"] for row in rows] == ["shac-ant-s0", "shac-ant-s1", "shac-ant-s2"]
    assert [row["return_mean"] for row in rows] == [100.0, 101.0, 102.0]
    assert rows[0]["status"] == "finished"
    assert rows[0]["commit"] == "c0ffee"
    assert rows[0]["threads"] == 2
    assert rows[0]["process_s"] > 0 and 0 < rows[0]["cpu_s"] < 60 * rows[0]["process_s"]
    assert "on 2 threads" in (settings.out / "shac-ant-s0.log").read_text()
    assert read_results(settings.out) == rows
    assert [len(points) for points in curves_of(rows).values()] == [8, 8, 8]
    lines = [json.loads(line) for line in (settings.out / "results.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["unfinished", "finished"] * 3
    assert check_file(settings.out / "results.jsonl") == []
    assert lines[1]["missing"] == ["config_hash"] and lines[1]["hardware"]["cores"] >= 1

    again = run_suite(_suite(), settings, said.append)
    assert again == rows
    assert said[-1] == "3 of 3 runs are finished already"
    assert [_starts(settings.out, seed) for seed in range(3)] == [1, 1, 1]


def test_more_seeds_join_and_the_old_stay(settings: RunSettings) -> None:
    run_suite(_suite(seeds=1), settings)
    rows = run_suite(_suite(seeds=2), settings)
    assert [row["run"] for row in rows] == ["shac-ant-s0", "shac-ant-s1"]
    assert [_starts(settings.out, seed) for seed in range(2)] == [1, 1]
    assert set(curves_of(rows)) == {"shac-ant-s0", "shac-ant-s1"}
    assert len(run_suite(_suite(seeds=1), settings)) == 1
    assert len(read_results(settings.out)) == 2


def test_the_first_seed_of_everything_comes_first(settings: RunSettings) -> None:
    algorithms = [(name, seed) for name in ("shac", "apg") for seed in range(2)]
    suite = Suite(
        name="mine", runs=tuple(PlannedRun(algorithm=name, task="ant", seed=seed) for name, seed in algorithms)
    )
    rows = run_suite(suite, settings)
    assert [row["run"] for row in rows] == ["shac-ant-s0", "shac-ant-s1", "apg-ant-s0", "apg-ant-s1"]
    lines = [json.loads(line) for line in (settings.out / "results.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines[::2]] == ["shac-ant-s0", "apg-ant-s0", "shac-ant-s1", "apg-ant-s1"]


def test_other_options_need_another_folder(settings: RunSettings) -> None:
    run_suite(_suite(seeds=1), settings)
    with pytest.raises(ValueError, match=r"made with shac ant --seed 0, not .*--gamma 0.9; choose another --out"):
        run_suite(_suite("--gamma", "0.9", seeds=1), settings)
    assert _starts(settings.out, 0) == 1


def test_a_failure_is_named_does_not_stop_the_others_and_is_tried_again(settings: RunSettings, tmp_path: Path) -> None:
    lucky = tmp_path / "lucky"
    plain, failing = _suite(), _suite("--fail", str(lucky))
    suite = Suite(name="mine", runs=(failing.runs[0], *plain.runs[1:]))
    rows = run_suite(suite, settings)
    assert [row["status"] for row in rows] == ["failed", "finished", "finished"]
    assert rows[0]["error"] == "exit code 1: no such luck"
    lucky.touch()
    rows = run_suite(suite, settings)
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert "error" not in rows[0]
    assert [_starts(settings.out, seed) for seed in (1, 2)] == [1, 1]


def test_a_run_that_was_cut_off_goes_on(settings: RunSettings) -> None:
    folder = settings.out / "shac-ant-s0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"seed": 0}))
    rows = run_suite(_suite(seeds=2), settings)
    assert [row["status"] for row in rows] == ["finished", "finished"]
    assert "--resume" in (settings.out / "shac-ant-s0.log").read_text()
    assert "--resume" not in (settings.out / "shac-ant-s1.log").read_text()
    assert rows[0]["process_s"] is rows[0]["cpu_s"] is None, "the time of only a part would mislead"


def test_as_many_at_once_as_there_are_jobs(settings: RunSettings) -> None:
    run_suite(_suite(seeds=4, jobs=2), settings)
    spans = []
    for seed in range(4):
        folder = settings.out / f"shac-ant-s{seed}"
        spans.append((float((folder / "starts").read_text()), float((folder / "ends").read_text())))
    most = max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)
    assert most <= 2


def test_jobs_and_threads_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        RunSettings(out=tmp_path, jobs=0)
    with pytest.raises(ValueError, match="threads is -1"):
        RunSettings(out=tmp_path, threads=-1)


# A shell's background job ignores SIGINT, and so would everything started from it.
_INTERRUPTED = """
import signal
import sys
from pathlib import Path
from diffrl_algos import RunError
from diffrl_bench import PlannedRun, RunSettings, Suite, run_suite

signal.signal(signal.SIGINT, signal.default_int_handler)
out, command = Path(sys.argv[1]), tuple(sys.argv[2:])
runs = tuple(PlannedRun(algorithm="shac", task="ant", seed=seed, options=("--slow", "x")) for seed in range(3))
run_suite(Suite(name="mine", jobs=2, runs=runs), RunSettings(out=out, command=command))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_runs_save_and_go_on(settings: RunSettings, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, str(settings.out), *settings.command],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    waiting = [settings.out / f"shac-ant-s{seed}" / "waiting" for seed in range(2)]
    _until(lambda: all(file.exists() for file in waiting))
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Interrupted: interrupted; the same command continues the runs" in err
    for seed in range(2):
        assert any((settings.out / f"shac-ant-s{seed}" / "checkpoints").glob("*.safetensors"))
    assert not (settings.out / "shac-ant-s2").exists()
    assert [row["status"] for row in read_results(settings.out)] == ["unfinished", "unfinished"]
    with pytest.raises(ValueError, match="choose another --out"):
        run_suite(_suite(seeds=2), settings)
    rows = run_suite(_suite("--slow", "x", seeds=2), settings)
    assert [row["status"] for row in rows] == ["finished", "finished"]
    assert [_starts(settings.out, seed) for seed in range(2)] == [2, 2]


def test_one_at_a_time_in_a_folder(settings: RunSettings) -> None:
    """The second one changes nothing, and a lock that a killed one left is none."""
    command = [sys.executable, "-c", _INTERRUPTED, str(settings.out), *settings.command]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _until(lambda: (settings.out / "shac-ant-s1" / "waiting").exists())
    before = read_results(settings.out)
    with pytest.raises(RunError, match=r"another diffrl bench run is at work in .*out; wait until it ends"):
        run_suite(_suite("--slow", "x", seeds=2), settings)
    assert read_results(settings.out) == before and len(before) == 2
    first.kill()
    first.wait()
    rows = run_suite(_suite("--slow", "x", seeds=2), settings)
    assert [row["status"] for row in rows] == ["finished", "finished"]


def test_a_run_that_is_complete_is_finished_whatever_became_of_its_process(settings: RunSettings) -> None:
    """For instance where its result could not be printed any more."""
    suite = _suite(seeds=1)
    (settings.out).mkdir()
    code = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True); sys.exit(1)"
    rows = run_suite(suite, replace(settings, command=(sys.executable, "-c", code, *settings.command)))
    assert [row["status"] for row in rows] == ["finished"]


def test_what_fails_in_between_leaves_no_run_behind(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        _until((settings.out / "shac-ant-s0" / "waiting").exists)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffrl_bench._runner.append_row", full)
    with pytest.raises(OSError, match="No space left"):
        run_suite(_suite("--slow", "x", seeds=1), settings)
    assert any((settings.out / "shac-ant-s0" / "checkpoints").glob("*.safetensors"))


def test_a_task_may_have_any_name(settings: RunSettings) -> None:
    """Those of Gymnasium have colons, slashes and dots."""
    runs = tuple(PlannedRun(algorithm="ppo", task=task, seed=0) for task in ("gym:a/B-v0", "gym:../..", "gym:é:C-v1"))
    rows = run_suite(Suite(name="mine", runs=runs), settings)
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert [row["run"] for row in rows] == ["ppo-gym-a-B-v0-s0", "ppo-gym-..-..-s0", "ppo-gym-é-C-v1-s0"]
    assert [row["arguments"][1] for row in rows] == [run.task for run in runs]
    assert {path.parent for path in settings.out.rglob("summary.json")} == {settings.out / row["run"] for row in rows}


def _until(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)
