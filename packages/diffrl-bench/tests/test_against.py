"""``diffrl bench update --against``: turns, figures and refusals; and the process that takes the updates."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench import UpdateBench, _against, _update_job
from diffrl_bench._against import bench_against
from diffrl_bench._report import against_text

STUB = """
import json, sys, pathlib
build = sys.path[1]  # the first entry of PYTHONPATH
old = "other" in build
log = pathlib.Path(json.loads(sys.argv[1])["task"])
print(json.dumps({"num_envs": 4, "horizon": 8, "file": build + "/diffrl_algos/__init__.py"}), flush=True)
for k, _ in enumerate(sys.stdin):
    log.write_text(log.read_text() + ("o" if old else "n"))
    print(json.dumps({"wall": 6.0 if old else 1.0, "cpu": 3.0 + k if old else 1.0}), flush=True)
"""


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkout whose updates are three times slower, and where the order of the turns is written."""
    (tmp_path / "job.py").write_text(STUB)
    monkeypatch.setattr(_against, "_JOB", tmp_path / "job.py")
    (tmp_path / "other" / "packages" / "diffrl-algos" / "src").mkdir(parents=True)
    (tmp_path / "turns").write_text("")
    return tmp_path / "other", tmp_path / "turns"


def test_builds_take_turns(other: tuple[Path, Path]) -> None:
    checkout, turns = other
    report = bench_against(UpdateBench(algo="gippo", task=str(turns), updates=3, warm_up=0), checkout)
    assert turns.read_text() == "onnoon", "the order changes"
    assert report["times_faster_cpu"] == {"median": 4.0, "min": 3.0, "max": 5.0}
    assert report["times_faster_wall"] == {"median": 6.0, "min": 6.0, "max": 6.0}
    assert report["against"]["update_cpu_s"]["median"] == 4.0 and report["here"]["update_s"]["max"] == 1.0
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert "4.00 times faster in processor time (3.00 to 5.00)" in against_text(report)


def test_a_folder_without_a_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a checkout of this repository, with packages/\*/src"):
        bench_against(UpdateBench(), tmp_path)
    with pytest.raises(ValueError, match=r"compare is .*; with --against, leave it out"):
        bench_against(UpdateBench(compare=("critic_fit=torch,native",)), tmp_path)


def job(monkeypatch: pytest.MonkeyPatch, lines: int, **changes: Any) -> list[dict[str, Any]]:
    settings = {"algo": "ppo", "task": "cartpole", "num_envs": 4, "threads": 1, "seed": 0, "warm_up": 1, **changes}
    answers = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["job", json.dumps(settings)])
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n" * lines))
    monkeypatch.setattr(sys, "stdout", answers)
    _update_job.main()
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_each_line_is_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *updates = job(monkeypatch, 2)
    assert first["num_envs"] == 4 and first["file"].endswith("__init__.py")
    assert len(updates) == 2 and all(update["cpu"] > 0 for update in updates)


def test_what_a_build_refuses_is_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = job(monkeypatch, 1, task="antt")
    assert "antt" in answer["error"]
