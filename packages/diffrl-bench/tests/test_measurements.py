"""Suites of measurements: their files, their processes, their records, tables and pages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench import Measurement, RunSettings, Suite, load_suite, measure_suite
from diffrl_bench._figures import figure_of, problems_of_figure, problems_of_subject, subject_of
from diffrl_bench._measurement import MEASUREMENTS, check_measurements, read_measurements
from diffrl_bench._suite import parse_suite, smoke_of, with_seeds
from diffrl_bench.cli import main, parse

GOOD = """
name = "mine"
[[measure]]
name = "ant"
command = ["sim", "--task", "ant"]
smoke = ["--repeats", "1"]
"""

_FAKE = """
import os, sys, time
from pathlib import Path
arguments = sys.argv[1:]
assert arguments[0] == "bench" and arguments[-1] == "--json"
task = arguments[arguments.index("--task") + 1]
with Path(os.environ["STARTS"]).open("a") as file:
    file.write(f"{task} {os.getpid()}\\n")
print("on stderr", file=sys.stderr, flush=True)
if task == "slow":
    time.sleep(60)
if task.startswith("fails") and not Path(task.removeprefix("fails:")).exists():
    sys.exit("no such luck")
print("{}" if task == "empty" else Path(os.environ["REPORT"]).read_text())
"""


@pytest.fixture
def settings(tmp_path: Path, sim_report: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    """A command that behaves as ``diffrl bench sim`` in no time: tasks are ``slow``, ``fails:FILE`` and ``empty``."""
    (tmp_path / "fake.py").write_text(_FAKE)
    (tmp_path / "report.json").write_text(json.dumps(sim_report))
    monkeypatch.setenv("REPORT", str(tmp_path / "report.json"))
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    return RunSettings(out=tmp_path / "out", command=(sys.executable, str(tmp_path / "fake.py")))


def _suite(*tasks: str) -> Suite:
    measurements = [Measurement(name=f"m{k}", command=("sim", "--task", task)) for k, task in enumerate(tasks)]
    return Suite(name="mine", measurements=tuple(measurements))


def _starts(settings: RunSettings) -> list[str]:
    return [line.split()[0] for line in (settings.out.parent / "starts").read_text().splitlines()]


# Suites --------------------------------------------------------------------------------------------------------------


def test_parse() -> None:
    suite = parse_suite(GOOD, "here")
    (one,) = suite.measurements
    assert (one.name, one.command, suite.runs) == ("ant", ("sim", "--task", "ant"), ())
    smoke = smoke_of(suite)
    assert smoke.smoke and smoke.measurements[0].command == ("sim", "--task", "ant", "--repeats", "1")
    with pytest.raises(ValueError, match="--seeds is for suites that train"):
        with_seeds(suite, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"ant"\ncommand', '"a/nt"\ncommand'), "measure 0: name is 'a/nt'; expected letters"),
        (("command", "comand"), "unknown key of suite here, measure 0: 'comand'; did you mean command"),
        (('["sim", "--task", "ant"]', "[]"), "measure 0 has no command"),
        (('["sim", "--task", "ant"]', '["sim", 3]'), "command is"),
        (('"--repeats"', '"--json", "--repeats"'), "--json is added to every command"),
        (('"--repeats"', '"--help", "--repeats"'), "--help ends a command; leave it out"),
        (("[[measure]]", "jobs = 2\n[[measure]]"), "unknown key of suite here: 'jobs'"),
        (("[[measure]]", "[measure]"), "measure is .*; expected list"),
        (("[[measure]]", "[[train]]\n[[measure]]"), r"has \[\[train\]\] and \[\[measure\]\] tables"),
    ],
)
def test_errors_of_files_say_what_is_wrong(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_suite(GOOD.replace(*change, 1), "here")


def test_names_are_not_there_twice() -> None:
    with pytest.raises(ValueError, match="'mine' has the measurement ant more than once"):
        parse_suite(GOOD + GOOD.partition('"mine"')[2], "here")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sim", "--tusk", "ant"), r"m0: unrecognized arguments: --tusk ant"),
        (("sim", "--repeats", "few"), r"m0: argument --repeats: invalid int value"),
        (("table", "functions"), r"m0: the command 'table' has no figures; those that have are .*sim"),
        (("simm",), r"m0: the command 'simm' has no figures"),
        (("--help",), r"m0: the command '--help' has no figures"),
    ],
)
def test_what_is_wrong_is_named_before_the_first(settings: RunSettings, command: tuple[str, ...], message: str) -> None:
    suite = Suite(name="mine", measurements=(Measurement(name="m0", command=command),))
    with pytest.raises(ValueError, match=f"{message}.*; nothing was started"):
        measure_suite(suite, settings, parse=parse)
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobs": 2}, "has the machine to itself: --jobs 2 would disturb it"),
        ({"on": "ray"}, "--on ray is for suites that train"),
        ({"threads": 2}, "--threads is for suites that train"),
        ({"options": ("--gamma", "0.9")}, "--gamma 0.9 is for suites that train"),
    ],
)
def test_settings_of_trainings_are_refused(settings: RunSettings, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_suite(_suite("ant"), replace(settings, **change))


# Running -------------------------------------------------------------------------------------------------------------


def test_nothing_twice_and_failures_apart(settings: RunSettings, tmp_path: Path) -> None:
    said: list[str] = []
    suite = _suite("ant", f"fails:{tmp_path / 'luck'}", "empty")
    rows = measure_suite(suite, settings, said.append)
    assert [row["status"] for row in rows] == ["finished", "failed", "failed"]
    assert rows[1]["error"] == "exit code 1: no such luck"
    assert "m2.json, has no figures: KeyError" in rows[2]["error"]
    assert rows[0]["figures"] and rows[0]["cpu_s"] > 0 and rows[0]["versions"] == {"mujoco": "4.0.0"}
    assert json.loads((settings.out / "m0.json").read_text())["task"] == "ant"
    assert (settings.out / "m0.log").read_text() == "on stderr\n"
    assert not list(settings.out.glob("*.part")) and not (settings.out / "m1.json").exists()
    (tmp_path / "luck").touch()
    suite = replace(suite, measurements=suite.measurements[:2])
    assert [row["status"] for row in measure_suite(suite, settings)] == ["finished"] * 2
    assert [task.partition(":")[0] for task in _starts(settings)] == ["ant", "fails", "empty", "fails"]
    assert read_measurements(settings.out)[:2] == measure_suite(suite, settings), "and nothing is started a third time"


def test_the_time_is_over_and_it_begins_anew(settings: RunSettings) -> None:
    said: list[str] = []
    suite = _suite("ant", "slow")
    rows = measure_suite(suite, replace(settings, max_hours=2 / 3600), said.append)
    assert [row["status"] for row in rows] == ["finished"]
    assert read_measurements(settings.out)[1]["status"] == "unfinished"
    assert "the time is over; the same command measures m1 anew" in said[-1]
    with pytest.raises(ValueError, match=r"holds m1 made with 'sim --task slow', not 'sim --task ant'; choose another"):
        measure_suite(_suite("ant", "ant"), settings)
    with pytest.raises(ValueError, match=r"holds results \(m0\), and this is a smoke"):
        measure_suite(replace(suite, smoke=True), settings)
    with pytest.raises(ValueError, match="holds measurements of suite 'mine'"):
        measure_suite(replace(suite, name="other"), settings)


_INTERRUPTED = """
import sys
from pathlib import Path
from diffrl_bench import Measurement, RunSettings, Suite, measure_suite

suite = Suite(name="mine", measurements=(Measurement(name="m0", command=("sim", "--task", "slow")),))
measure_suite(suite, RunSettings(out=Path(sys.argv[1]), command=tuple(sys.argv[2:])))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_measurement_outlives_its_suite(settings: RunSettings, number: signal.Signals) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, str(settings.out), *settings.command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    starts = settings.out.parent / "starts"
    _until(lambda: starts.exists() and starts.read_text().endswith("\n"))
    child = int(starts.read_text().split()[1])
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert number == signal.SIGKILL or "the same command begins this measurement anew" in err
    _until(lambda: not _runs(child))
    assert [row["status"] for row in read_measurements(settings.out)] == ["unfinished"]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


# Records -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(settings: RunSettings) -> Path:
    """A folder with two finished measurements."""
    measure_suite(_suite("ant", "hopper"), settings)
    return settings.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:3] + [{**rows[3], "figures": [{"subject": "x"}]}], "line 4: it figures 0 lacks 'quantity'"),
        (lambda rows: rows[:3] + [{**rows[3], "colour": 1}], "line 4: it has the unknown key 'colour'"),
        (lambda rows: [*rows, rows[3]], "m1 is finished in line 4 and there again in line 5"),
        (lambda rows: rows[:3] + [{**rows[3], "smoke": True}], "mixes smoke runs"),
        (lambda rows: rows[:3] + [{**rows[3], "suite": "other"}], "mixes the suites"),
        (
            lambda rows: rows[:3] + [{**rows[3], "command": ["sim"]}],
            r"m1 is of 'sim --task hopper' \(line 3\) and of 'sim' \(line 4\)",
        ),
    ],
)
def test_what_is_wrong_with_records_is_named(
    finished: Path, change: Callable[[list[Any]], list[Any]], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = finished / MEASUREMENTS
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert not check_measurements(file) and main(["check", str(finished)]) == 0
    file.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))
    assert main(["check", str(finished)]) == 2
    with pytest.raises(ValueError, match=message):
        read_measurements(finished)
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ValueError, match="is cut off"):
        read_measurements(finished)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (figure_of("x", "y", float("nan"), "s"), "has the value nan"),
        (figure_of("", "y", 1.0, "s"), "has the subject ''"),
        (figure_of("x", "y", 1.0, "s", low=0.0), "has the ends"),
        (figure_of("x", "y", 1.0, "s", low=2.0, high=1.0, by="range"), "has a low of 2.0, above its high"),
        (figure_of("x", "y", 1.0, "s", low=0.0, high=1.0), "'by' does not say"),
        ({**figure_of("x", "y", 1.0, "s"), "more": 1}, "unknown key 'more'"),
    ],
)
def test_figures_that_say_nothing(figure: dict[str, Any], message: str) -> None:
    assert not problems_of_figure(figure_of("x", "y", 1, "", low=0.0, high=1.0, by="range of 3 repeats"))
    assert message in problems_of_figure(figure)[0]


def test_subjects_that_say_nothing() -> None:
    assert not problems_of_subject(subject_of("x", missing="not installed"))
    assert problems_of_subject({**subject_of("x"), "version": 3}) == ["has the version 3; expected a text"]
    assert "lacks 'settings'" in problems_of_subject({"subject": "x", "version": None, "missing": None})


# Tables and pages ----------------------------------------------------------------------------------------------------


def test_tables_and_page_have_every_figure(
    finished: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, one_object: Callable[[], dict[str, Any]]
) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(GOOD)
    shown: dict[str, str] = {}
    for kind in ("md", "tex", "csv"):
        assert main(["table", str(suite), "--out", str(finished), "--format", kind]) == 0
        shown[kind] = capfd.readouterr().out
    assert "`diffrl bench sim --task hopper --json` In parentheses: range of 3 repeats." in shown["md"]
    assert "3,413 (1,707 to 4,267)" in shown["md"] and "3,413 (1,707 to 4,267)" in shown["tex"]
    assert main(["table", str(suite), "--out", str(finished), "--json"]) == 0
    rows = one_object()["measurements"]
    figures = [figure for row in rows for figure in row["figures"]]
    assert len(shown["csv"].splitlines()) == 1 + len(figures)
    assert main(["report", "--out", str(finished), "--to", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "mine.html").read_text()
    assert "3,413 (1,707 to 4,267)" in page and "diffrl bench sim --task hopper --json" in page
    assert f"line 4 of {MEASUREMENTS}" in page and "16 sub-steps of 1.04 ms" in page
    assert capfd.readouterr().out
    assert main(["plot", str(suite), "--out", str(finished)]) == 2
    assert "has no learning curves" in capfd.readouterr().err


def test_what_failed_is_shown_as_such(settings: RunSettings, tmp_path: Path) -> None:
    from diffrl_bench._found import found_in
    from diffrl_bench._html import write_report
    from diffrl_bench._measured import FORMATS

    measure_suite(_suite("fails:nothing"), settings)
    found = found_in(settings.out)
    write_report([found], tmp_path / "report", "diffrl bench report")
    assert "no such luck" in (tmp_path / "report" / "mine.html").read_text()
    assert "no such luck" in FORMATS["md"](found.rows) and "% m0: exit code 1" in FORMATS["tex"](found.rows)


def test_an_index_has_both_kinds(finished: Path, record: Any, write: Any, tmp_path: Path) -> None:
    (finished.parent / "trained").mkdir()
    write(finished.parent / "trained" / "results.jsonl", record(0, suite="trained"))
    assert main(["report", "--out", str(finished.parent), "--to", str(tmp_path / "report")]) == 0
    index = (tmp_path / "report" / "index.html").read_text()
    assert "mine.html" in index and "trained.html" in index and "3 runs and measurements" in index
    write(finished / "results.jsonl", record(0, suite="trained"))
    assert main(["report", "--out", str(finished.parent)]) == 2


def test_load_suite_of_measurements(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    assert load_suite(str(tmp_path / "mine.toml")) == parse_suite(GOOD, "here")
