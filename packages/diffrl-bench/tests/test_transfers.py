"""Transfers next to the records of a suite: which run each is of, and what tables and pages say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrl_algos.cli import main as diffrl
from diffrl_bench._record import config_hash
from diffrl_bench._suite import parse_suite
from diffrl_bench._summary import summarise_suite
from diffrl_bench._summary_text import as_markdown
from diffrl_bench._transfers import TRANSFERS, Transfers, transfers_of
from diffrl_bench.cli import main

Make = Callable[..., Any]
RUN = ["--iterations", "1", "--num-envs", "4", "--eval-episodes", "1", "--actor-hidden", "8", "--critic-hidden", "8"]


@pytest.fixture
def line(record: Make) -> Make:
    """Makes a line of ``transfers.jsonl``, of a run with 1,000 here."""

    def made(seed: int, there: float, speed: float = 1.0, **changes: Any) -> dict[str, Any]:
        place = {key: record()[key] for key in ("time", "commit", "versions", "machine", "hardware", "load")}
        side = {"return_std": 0.0, "length_mean": 10.0, "diverged": 0}
        values = {
            "suite": "mine",
            "run": f"shac-ant-s{seed}",
            "algorithm": "shac",
            "task": "ant",
            "task_options": {},
            "run_seed": seed,
            "config_hash": "f" * 64,
            "arguments": ["transfer", "x"],
            "checkpoint": "last",
            "seed": 0,
            "episodes": 64,
            "step_ms": 2.0,
            "return_kept": there / 1000,
            "speed_kept": speed / 2.0,
            "here": {**side, "return_mean": 1000.0, "speed_mean": 2.0},
            "mujoco": {**side, "return_mean": there, "speed_mean": speed},
        }
        return {**values, **place, **changes}

    return made


def test_transfers_are_of_runs_with_their_configuration_and_seed(tmp_path: Path, record: Make, line: Make) -> None:
    rows = [*(record(seed) for seed in range(3)), record(3, config_hash=None, missing=["config_hash"])]
    for values in (
        line(0, 100.0),
        line(0, 800.0, run="another-name"),
        line(1, 600.0, 0.5),
        line(2, 1.0, config_hash="e" * 64),
        line(3, 400.0, 1.5, config_hash="e" * 64),
        line(4, 9.0),
    ):
        TRANSFERS.append(tmp_path, values)
    lines = TRANSFERS.read(tmp_path)
    (found,) = transfers_of(rows, lines)
    assert [(run, kept.number) for run, kept in found.runs] == [
        ("shac-ant-s0", 2),  # the newest, whatever its name
        ("shac-ant-s1", 3),
        ("shac-ant-s3", 5),  # by its name: no configuration is known. That of seed 2 is another one's.
    ]
    assert (found.here, found.mujoco, found.return_kept, found.speed_kept) == (1000.0, 600.0, 0.6, 0.5)
    assert transfers_of([{**row, "status": "failed"} for row in rows], lines) == []
    TRANSFERS.append(tmp_path, line(1, -600.0, return_kept=None))
    (found,) = transfers_of(rows, TRANSFERS.read(tmp_path))
    assert found.return_kept is None and found.mujoco == 200.0
    suite = parse_suite('name = "mine"\n[[train]]\nalgorithm = "shac"\ntask = "ant"\nseeds = [0]', "mine")
    text = as_markdown(summarise_suite(suite, rows, (), lines))
    words = next(words for words in text.splitlines() if "1,000" in words)
    assert [cell.strip() for cell in words.strip("|").split("|")] == [
        "ant",
        "shac",
        "3",
        "1,000",
        "600",
        "60 %",
        "50 %",
    ]


def test_the_command_keeps_them_and_table_and_page_show_them(
    tmp_path: Path, record: Make, write: Make, one_object: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    run, results = tmp_path / "mine", tmp_path / "results"
    assert diffrl(["train", "shac", "cartpole", *RUN, "--out", str(run)]) == 0
    results.mkdir()
    told = {"run": "shac-cartpole-s0", "algorithm": "shac", "task": "cartpole"}
    told["config_hash"] = config_hash(json.loads((run / "run.json").read_text()))
    write(results / "results.jsonl", record(0, **told))
    call = ["transfer", str(run), "--episodes", "2", "--to"]
    capfd.readouterr()
    assert main([*call, str(results), "--json"]) == 0
    (report,) = one_object()["runs"]
    (kept,) = TRANSFERS.read(results)
    assert kept.row["mujoco"] == report["mujoco"] and kept.row["return_kept"] == report["return_kept"]
    assert kept.row["arguments"][:4] == ["transfer", "mine", "--checkpoint", "last"]
    assert main(["check", str(results), "--json"]) == 0
    assert one_object()["records"] == 2
    assert main(["table", "--out", str(results), "--json"]) == 0
    assert one_object()["suites"][0]["transfers"][0]["runs"] == ["shac-cartpole-s0"]
    assert main(["report", "--out", str(results), "--to", str(tmp_path / "pages")]) == 0
    page = (tmp_path / "pages" / "mine.html").read_text()
    assert page.count('id="transfer"') == 1 and page.count("Transfer to MuJoCo C") == 1
    assert 'href="#run-shac-cartpole-s0"' in page and "line 1 of transfers.jsonl" in page
    assert "diffrl bench transfer mine --checkpoint last --episodes 2 --seed 0 --step-ms 2" in page
    write(results / "results.jsonl", record(0, **{**told, "config_hash": "e" * 64}))
    capfd.readouterr()
    assert main([*call, str(results)]) == 2
    assert "no record has its configuration" in capfd.readouterr().err
    with pytest.raises(ValueError, match="holds no results of a suite"):
        Transfers(tmp_path, [run])
