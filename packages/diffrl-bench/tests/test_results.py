"""Tables and files of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from diffrl_bench._results import CURVE_POINTS, as_curve, as_points, curve, summarise, table_text


def _row(task: str, seed: int, value: float | None, wall: float = 10.0) -> dict[str, Any]:
    row: dict[str, Any] = {"run": f"shac-{task}-s{seed}", "algorithm": "shac", "task": task, "seed": seed}
    if value is None:
        return {**row, "status": "failed", "error": "exit code 1: broke", "machine": "Abacus 1, 4 cores", "threads": 4}
    finished = {"status": "finished", "return_mean": value, "return_std": 1.0, "episodes": 64, "env_steps": 1024}
    return {**row, **finished, "wall_s": wall, "machine": "Abacus 1, 4 cores", "threads": 4}


def _metrics(folder: Path, length: int) -> None:
    folder.mkdir(parents=True)
    lines = [
        {"iteration": k, "env_steps": 64 * k, "wall_s": 0.5 * k, "return_mean": None if k < 4 else float(k * k), "x": 1}
        for k in range(1, length + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_summary_is_median_and_quartiles_of_finished_runs() -> None:
    rows = [_row("ant", k, value, wall=k + 1.0) for k, value in enumerate([5.0, 1.0, None, 9.0, 3.0])]
    (found, other) = summarise([*rows, _row("cartpole", 0, None)])
    assert found["runs"] == 5
    assert found["finished"] == 4
    assert (found["return_q25"], found["return_median"], found["return_q75"]) == (2.5, 4.0, 6.0)
    assert (found["return_min"], found["return_max"]) == (1.0, 9.0)
    assert (found["wall_s_median"], found["wall_s_max"]) == (3.0, 5.0)
    assert found["machine"] == "Abacus 1, 4 cores"
    assert other["finished"] == 0
    assert other["return_median"] is None


def test_table_in_markdown() -> None:
    rows = [_row("ant", 0, 7012.3), _row("ant", 1, 8000.0), _row("cartpole", 0, None)]
    lines = table_text(rows, markdown=True).splitlines()
    assert lines[0].startswith("| ")
    assert set(lines[1]) <= set("|-: ")
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["shac ant", "2 of 2", "7,506"]
    assert "7,259 to 7,753" in lines[2]
    assert "0 of 1" in lines[3]
    assert lines[4] == ""
    assert "7,012 ± 1.0" in lines[7]
    assert "failed" in lines[9]
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert len({line.count("|") for line in lines[5:]}) == 1


def test_curves_keep_their_ends_and_lose_what_has_no_return(tmp_path: Path) -> None:
    _metrics(tmp_path / "long", 1000)
    _metrics(tmp_path / "short", 6)
    _metrics(tmp_path / "none", 3)
    long, short = curve(tmp_path / "long" / "metrics.jsonl"), curve(tmp_path / "short" / "metrics.jsonl")
    assert len(long) == CURVE_POINTS
    assert long[0].tolist() == [4, 256, 2.0, 16]
    assert long[-1].tolist() == [1000, 64000, 500.0, 1_000_000]
    assert (np.diff(long[:, 0]) > 0).all()
    assert short[:, 3].tolist() == [16, 25, 36]
    assert curve(tmp_path / "none" / "metrics.jsonl").shape == (0, 4)
    assert curve(tmp_path / "nothing" / "metrics.jsonl").shape == (0, 4)
    np.testing.assert_allclose(as_points(as_curve(long)), long, rtol=1e-6)
    assert as_points(as_curve(curve(tmp_path / "none" / "metrics.jsonl"))).shape == (0, 4)
