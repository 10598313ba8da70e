"""``diffrl plot RUN...``: run folders of any origin in one picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench._plot_runs import plot_runs
from diffrl_bench.cli import plot


def folder(path: Path, seed: int = 0, algorithm: str = "shac", **config: Any) -> Path:
    """A run folder with a learning curve of ten updates."""
    path.mkdir()
    described = {"algorithm": algorithm, "task": "ant", "seed": seed, "num_envs": 4, "config": {"horizon": 8, **config}}
    (path / "run.json").write_text(json.dumps({**described, "budget": {"iterations": 10}, "task_options": {}}))
    lines = [{"iteration": k, "env_steps": 32 * k, "wall_s": 0.1 * k, "return_mean": float(k)} for k in range(1, 11)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_runs_that_differ_are_curves_of_their_own(tmp_path: Path) -> None:
    runs = [folder(tmp_path / "a"), folder(tmp_path / "b", 1), folder(tmp_path / "c", horizon=16, hidden=[8, 8])]
    runs.append(folder(tmp_path / "d", algorithm="ppo"))
    (runs[0] / "summary.json").write_text('{"return_mean": 9.5}')
    rows = plot_runs(runs, tmp_path / "curves.svg")
    assert [row.get("variant") for row in rows] == [None, None, "horizon=16, hidden=8,8", None]
    assert [row["return_mean"] for row in rows] == [9.5, None, None, None]
    picture = (tmp_path / "curves.svg").read_text()
    for label in ("SHAC", "SHAC (horizon=16, hidden=8,8)", "PPO"):
        assert f"<!-- {label} -->" in picture
    named = plot_runs(runs[:2], tmp_path / "named.svg", ["old", "new"])
    assert [row["name"] for row in named] == ["old", "new"]
    picture = (tmp_path / "named.svg").read_text()
    assert "<!-- old -->" in picture and "<!-- new -->" in picture and "SHAC" not in picture


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder(tmp_path / "run")
    assert plot([str(run), "--file", str(tmp_path / "x.svg"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["algorithm"] == "shac"
    (tmp_path / "empty").mkdir()
    (run / "metrics.jsonl").write_text("")
    for arguments, words in [
        ([str(tmp_path / "empty")], "is not a run folder"),
        ([str(run)], "there is no learning curve yet"),
        ([str(run), "--name", "a", "--name", "b"], "2 names for 1 runs"),
        ([str(run), "--file", "x.txt"], "must end in .svg"),
    ]:
        given = arguments if "--file" in arguments else [*arguments, "--file", str(tmp_path / "y.svg")]
        assert plot(given) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and words in lines[0]
