"""Core hours of missing runs: what estimates measure, which of them count, and where they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from diffrl_algos.cli._train import described
from diffrl_bench._estimates import ESTIMATES, estimate
from diffrl_bench._hours import hours_of
from diffrl_bench._stopwatch import Clock
from diffrl_bench._suite import parse_suite
from diffrl_bench._summary import Summary, summarise_suite
from diffrl_bench._summary_text import as_markdown, missing_runs
from diffrl_bench.cli import main

Make = Callable[..., Any]
SMALL = ["--num-envs", "4", "--horizon", "8", "--actor-hidden", "8"]
SUITE = f"""
name = "sapo-table6"
options = {json.dumps(SMALL)}
[[train]]
algorithm = "shac"
task = "dejong"
seeds = [0, 1, 2]
options = ["--env-steps", "1000"]
[[train]]
algorithm = "apg"
task = "dejong"
variant = "long"
seeds = [0, 1]
options = ["--iterations", "7200"]
"""


def ticking(cpu_s: float) -> Clock:
    """A clock on which every update takes as much processor time, and half of it in wall time."""
    wall, cpu = count(), count()
    return Clock(wall=lambda: 0.5 * cpu_s * next(wall), cpu=lambda: cpu_s * next(cpu))


@pytest.fixture
def line(record: Make) -> Make:
    """Makes a line of ``estimates.jsonl``."""

    def made(arguments: list[str], cpu_s: float, updates: int) -> dict[str, Any]:
        keys = ("time", "commit", "versions", "machine", "hardware", "load")
        who = {"suite": "mine", "algorithm": arguments[0], "task": arguments[1], "problem": "", "variant": ""}
        figures = {"threads": 1, "warm_up": 2, "measured": 2, "cpu_s_per_update": cpu_s, "updates": updates}
        place = {key: record()[key] for key in keys}
        return {**who, "arguments": arguments, **figures, "core_hours": cpu_s * updates / 3600, **place}

    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(SUITE)
    return tmp_path


@pytest.mark.parametrize(
    ("budget", "updates"),
    [(["--iterations", "7"], 7), (["--env-steps", "1000"], 32), (["--seconds", "10"], 14)],
)
def test_an_estimate_is_the_time_of_an_update_times_those_of_the_budget(budget: list[str], updates: int) -> None:
    found = estimate(described(["shac", "dejong", *SMALL, *budget]), threads=1, clock=ticking(1.5))
    assert found["updates"] == updates, "updates have 32 control steps and 0.75 s"
    assert found["cpu_s_per_update"] == pytest.approx(1.5)
    assert found["core_hours"] == pytest.approx(1.5 * updates / 3600)
    assert found["warm_up"] == found["measured"] == 2


def test_updates_without_learning_are_not_measured() -> None:
    arguments = ["sac", "dejong", "--num-envs", "4", "--horizon", "8", "--iterations", "9", "--warmup-steps", "40"]
    found = estimate(described([*arguments, "--updates", "1"]), threads=1, clock=ticking(1.0))
    assert found["warm_up"] == 5, "40 random steps of every world"


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="goes on until it is stopped"):
        estimate(described(["shac", "dejong", *SMALL, "--seconds", "inf"]), threads=1)


def test_finished_runs_come_before_estimates_and_new_estimates_before_old(
    tmp_path: Path, line: Make, record: Make
) -> None:
    suite = parse_suite(SUITE, "mine")
    shac, apg = suite.runs[0].arguments, suite.runs[3].arguments
    for values in (
        line(shac, 9.0, 100),
        line(shac, 1.8, 100),
        line([*shac, "--gamma", "0.9"], 50.0, 100),
        line(apg, 0.5, 7200),
    ):
        ESTIMATES.append(tmp_path, values)
    lines = ESTIMATES.read(tmp_path)
    found = hours_of(suite, [], lines)
    assert {key: hours.each for key, hours in found.items()} == {("shac", "dejong"): 0.05, ("apg (long)", "dejong"): 1}
    assert "line 2 of estimates.jsonl" in found["shac", "dejong"].source, "that of other settings does not count"
    who = {"algorithm": "shac", "task": "dejong", "arguments": shac}
    rows = [record(seed, **who, run=f"shac-dejong-s{seed}", cpu_s=cpu) for seed, cpu in ((0, 720.0), (1, 1440.0))]
    with_runs = hours_of(suite, rows, lines)["shac", "dejong"]
    assert with_runs.each == 0.3 and "2 finished runs" in with_runs.source
    without = hours_of(suite, [{**row, "cpu_s": None} for row in rows], lines)
    assert without["shac", "dejong"].each == 0.05
    last = record(2, **who, run="shac-dejong-s2", cpu_s=1.0)
    assert ("shac", "dejong") not in hours_of(suite, [*rows, last], lines), "nothing is missing"
    told = as_markdown(summarise_suite(suite, rows, lines))
    assert "too few seeds for an interval (2 of 5); 1 more run would take 0.3 core hours" in told
    assert "missing: not run; 2 runs would take 2 core hours" in told
    assert "3 runs missing, which would take 2.3 core hours." in told


def test_what_is_not_known_is_not_guessed(tmp_path: Path, line: Make) -> None:
    suite = parse_suite(SUITE, "mine")
    assert missing_runs(summarise_suite(suite, [])) == (
        "5 runs missing; diffrl bench run SUITE --estimate says what they would take"
    )
    ESTIMATES.append(tmp_path, line(suite.runs[0].arguments, 3.6, 100))
    summary: Summary = summarise_suite(suite, [], ESTIMATES.read(tmp_path))
    assert missing_runs(summary) == "5 runs missing, which would take at least 0.3 core hours"
    assert [cell.core_hours for cell in summary.sections[0].cells] == [pytest.approx(0.3), None]


def test_the_command_measures_and_tables_and_pages_show_it(folder: Path, one_object: Make) -> None:
    out = folder / "runs" / "mine"
    call = [str(folder / "mine.toml"), "--out", str(out)]
    assert main(["run", *call, "--estimate", "--json"]) == 0
    shac, apg = one_object()["estimates"]
    assert shac["arguments"] == parse_suite(SUITE, "mine").runs[0].arguments and shac["updates"] == 32
    assert apg["variant"] == "long" and apg["updates"] == 7200 and apg["cpu_s_per_update"] > 0
    assert main(["check", str(out), "--json"]) == 0
    assert one_object()["records"] == 2
    assert main(["table", *call, "--json"]) == 0
    table = one_object()
    hours = 3 * shac["core_hours"] + 2 * apg["core_hours"]
    assert table["missing"] == {"runs": 5, "core_hours": pytest.approx(hours), "all_known": True}
    assert table["runs"] == [] and [cell["missing"] for cell in table["cells"]] == [3, 2]
    assert main(["report", *call, "--to", str(folder / "pages")]) == 0
    page = (folder / "pages" / "sapo-table6.html").read_text()
    assert "no run yet; 5 runs missing, which would take" in page and "line 2 of estimates.jsonl" in page
    assert "diffrl bench run sapo-table6 --estimate" in page and 'id="runs"' not in page
    assert main(["report", "--out", str(folder / "runs"), "--to", str(folder / "all")]) == 0
    assert (folder / "all" / "sapo-table6.html").exists(), "a folder with estimates alone"
    assert main(["plot", *call]) == 2
    (out / "estimates.jsonl").write_text(
        (out / "estimates.jsonl").read_text().replace('"updates": 32', '"updates": "x"')
    )
    assert main(["check", str(out)]) == 2 and main(["table", *call]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--estimate"], "SUITE is missing"),
        (["run", "sapo-table5", "--estimate", "--max-hours", "1"], "leave --max-hours out"),
        (["run", "sapo-table5", "--estimate", "--on", "ray"], "leave --on out"),
        (["run", "sapo-table5", "--estimate", "--", "--gama", "1"], "gama"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str], monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_suite_that_lacks_nothing_is_said_to(
    folder: Path, record: Make, write: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        record(
            run.seed, run=run.name, algorithm=run.algorithm, task=run.task, variant=run.variant, arguments=run.arguments
        )
        for run in parse_suite(SUITE, "mine").runs
    ]
    write(folder / "results.jsonl", *({**row, "suite": "sapo-table6"} for row in rows))
    assert main(["run", str(folder / "mine.toml"), "--out", str(folder), "--estimate"]) == 2
    assert "there is nothing to estimate" in capfd.readouterr().err
