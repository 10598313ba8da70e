"""The best return of a run, metrics over its updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrl_bench._plot_traces import plot_traces
from diffrl_bench._suite import load_suite, parse_suite
from diffrl_bench._traces import TRACE_POINTS, best_return, read_traces, traces_of

SUITE = """
name = "mine"
traces = ["alpha"]
references = ["GI-PPO Table 1"]

[[train]]
algorithm = "gippo"
task = "dejong"
seeds = [0]
"""


def _run(folder: Path, length: int, **more: Any) -> Path:
    folder.mkdir(parents=True)
    values = [None, None, *(-abs(k - 5.5) for k in range(2, length))]
    lines = [
        {"iteration": k + 1, "return_mean": values[k], "alpha": 0.1 / (k + 1), "late": None if k < 3 else k, **more}
        for k in range(length)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_best_is_over_all_updates(tmp_path: Path) -> None:
    assert best_return(_run(tmp_path / "a", 500) / "metrics.jsonl") == -0.5
    assert best_return(_run(tmp_path / "b", 2) / "metrics.jsonl") is None
    assert best_return(tmp_path / "nothing") is None


def _rows(runs: dict[str, Path], names: list[str]) -> list[dict[str, Any]]:
    """Records, as far as traces are concerned."""
    return [
        {
            "run": run,
            "algorithm": "gippo",
            "task": run.split("-")[1],
            "traces": traces_of(path / "metrics.jsonl", names),
        }
        for run, path in runs.items()
    ]


def test_traces_are_thinned(tmp_path: Path) -> None:
    runs = {"a-long": _run(tmp_path / "a", 1000), "a-short": _run(tmp_path / "b", 7), "a-empty": tmp_path / "nothing"}
    found = read_traces(_rows(runs, ["alpha", "late", "unknown"]))
    long, short = found["a-long"], found["a-short"]
    assert len(long["alpha"]) == TRACE_POINTS
    assert (long["iteration"][0], long["iteration"][-1]) == (1, 1000)
    np.testing.assert_allclose(long["alpha"], 0.1 / long["iteration"], rtol=1e-6)
    np.testing.assert_array_equal(short["late"], [np.nan] * 3 + [3.0, 4.0, 5.0, 6.0])
    assert np.isnan(short["unknown"]).all()
    assert len(found["a-empty"]["alpha"]) == 0
    with pytest.raises(ValueError, match="no result has traces; run a suite that keeps traces"):
        read_traces([{"run": "a"}])


def test_the_picture_holds_every_seed(tmp_path: Path) -> None:
    runs = {f"gippo-dejong-s{k}": _run(tmp_path / str(k), 50) for k in range(3)}
    rows = _rows(runs, ["alpha", "return_mean"])
    traces = read_traces(rows)
    for k in range(2):
        plot_traces(traces, rows, ["alpha", "return_mean"], "Mine", tmp_path / f"{k}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
    plot_traces(traces, rows[:2], ["alpha", "return_mean"], "Mine", tmp_path / "fewer.svg")
    assert (tmp_path / "fewer.svg").stat().st_size < (tmp_path / "0.svg").stat().st_size
    with pytest.raises(ValueError, match="there is no trace yet"):
        plot_traces(traces, rows, ["unknown"], "", tmp_path / "x.svg")


def test_a_metric_that_a_run_lacks_leaves_its_panel_empty(tmp_path: Path) -> None:
    runs = {"gippo-dejong-s0": _run(tmp_path / "0", 50), "gippo-ackley-s0": _run(tmp_path / "1", 50)}
    rows = _rows(runs, ["alpha", "return_mean"])
    traces = read_traces(rows)
    del traces["gippo-ackley-s0"]["alpha"]
    plot_traces(traces, rows, ["alpha", "return_mean"], "", tmp_path / "x.svg")
    drawn = (tmp_path / "x.svg").read_text()
    assert drawn.count("has none") == 1 and "ackley" in drawn


def test_suites_name_traces_and_references() -> None:
    suite = parse_suite(SUITE, "mine")
    assert suite.traces == ("alpha",)
    assert {(one.learner, one.task): one.value for one in suite.references}["gippo", "ackley"] == -0.0005
    assert load_suite("gippo-functions").references[: len(suite.references)] == suite.references
    with pytest.raises(ValueError, match="traces is"):
        parse_suite(SUITE.replace('["alpha"]', "[1]"), "mine")
    with pytest.raises(ValueError, match=r"mine refers to 'GI-PPO Table 9', of which .*known: .*GI-PPO Table 1,"):
        parse_suite(SUITE.replace("Table 1", "Table 9"), "mine")
