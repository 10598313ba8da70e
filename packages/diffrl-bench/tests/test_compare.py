"""``diffrl bench compare``: what fell, what only seems to, and what cannot be said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench._compare import compare, compare_text
from diffrl_bench.cli import main

OneObject = Callable[[], dict[str, Any]]
Make = Callable[..., Any]


@pytest.fixture
def side(tmp_path: Path, record: Make, write: Make) -> Callable[..., Path]:
    """Writes a file of records with these returns."""
    made: list[Path] = []

    def write_side(returns: list[float], **changes: Any) -> Path:
        made.append(tmp_path / str(len(made)))
        made[-1].mkdir()
        rows = [record(k, return_mean=value, **changes) for k, value in enumerate(returns)]
        write(made[-1] / "results.jsonl", *rows)
        return made[-1]

    return write_side


BASE = [100.0, 102.0, 98.0, 101.0, 99.0]


@pytest.mark.parametrize(
    ("new", "verdict", "code"),
    [
        ([80.0, 82.0, 78.0, 81.0, 79.0], "fell", 1),
        ([99.0, 101.0, 97.0, 100.0, 98.0], "same", 0),
        ([120.0, 122.0, 118.0, 121.0, 119.0], "rose", 0),
        ([60.0, 102.0, 98.0, 101.0, 99.0], "same", 0),
    ],
)
def test_a_return_falls_by_more_than_its_interval(
    side: Callable[..., Path], new: list[float], verdict: str, code: int, one_object: OneObject
) -> None:
    base, after = side(BASE), side(new)
    assert main(["compare", str(base), str(after), "--only", "return", "--json"]) == code
    value = one_object()
    assert [change["verdict"] for change in value["changes"]] == [verdict] and value["fell"] == code
    low, high = value["changes"][0]["interval"]
    assert low <= value["changes"][0]["new"] - value["changes"][0]["base"] <= high


def test_few_seeds_are_compared_by_their_ranges_and_fewer_not_at_all(side: Callable[..., Path]) -> None:
    (fell,) = compare(side(BASE[:3]), side([97.0, 96.0, 90.0]), ["return"])
    assert fell.verdict == "fell" and "too few seeds for an interval (3 of 5)" in fell.note
    (same,) = compare(side(BASE[:3]), side([97.0, 99.0, 90.0]), ["return"])
    assert same.verdict == "same"
    with pytest.raises(ValueError, match=r"nothing in .* can be compared: return of shac ant: too few seeds \(2"):
        compare(side(BASE[:2]), side([1.0, 2.0]), ["return"])


def test_tolerance_is_a_fraction_of_the_old_value(side: Callable[..., Path]) -> None:
    base, new = side(BASE), side([value - 10 for value in BASE])
    assert compare(base, new, ["return"])[0].verdict == "fell"
    assert compare(base, new, ["return"], tolerance=0.2)[0].verdict == "same"
    with pytest.raises(ValueError, match=r"tolerance is 1\.5"):
        compare(base, new, tolerance=1.5)


def test_speed_is_compared_on_the_same_machine_only(side: Callable[..., Path]) -> None:
    base, slow = side(BASE), side(BASE, cpu_s=6.0)
    changes = {change.what: change for change in compare(base, slow)}
    assert changes["speed"].verdict == "fell" and changes["return"].verdict == "same"
    assert changes["speed"].base == pytest.approx(20480 / 3.0) and "processor time" in changes["speed"].note
    other = {change.what: change for change in compare(base, side(BASE, cpu_s=6.0, machine="Abacus 2"))}
    assert other["speed"].verdict == "not compared" and "other machine" in other["speed"].note


def test_a_run_that_fails_now_fell(side: Callable[..., Path], record: Make, write: Make) -> None:
    base, new = side(BASE), side(BASE)
    rows = [record(k, return_mean=value) for k, value in enumerate(BASE)]
    rows[3] |= {"status": "failed", "error": "exit code 1"}
    write(new / "results.jsonl", *rows)
    (change,) = compare(base, new)
    assert change.verdict == "fell" and change.note == "failed, but finished before: seed 3"


def test_what_is_in_one_only_and_other_configurations_are_said(side: Callable[..., Path], record: Make) -> None:
    base, new = side(BASE), side(BASE, config_hash="e" * 64)
    with (base / "results.jsonl").open("a") as file:
        file.write(json.dumps(record(run="ppo-ant-s0", algorithm="ppo", arguments=["ppo", "ant"])) + "\n")
    text = compare_text(compare(base, new, ["return"]))
    assert "only in base" in text and "other configuration" in text
    assert text.splitlines()[-1] == "2 comparisons: 0 fell, 0 rose, 1 same, 1 not compared"


def test_bad_input_is_exit_code_2(side: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = side(BASE)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for before, after, problem in (
        (base, "nowhere", "nowhere does not exist; give a folder"),
        (base, damaged, "damaged.jsonl, line 1 is cut off"),
        (tmp_path / "list.json", tmp_path / "list.json", "list.json is not a report of diffrl bench sim or update"),
        (tmp_path / "empty", base, "empty does not exist"),
    ):
        assert main(["compare", str(before), str(after)]) == 2
        err = capfd.readouterr().err
        assert problem in err and err.count("\n") == 1


def test_smoke_runs_are_compared_with_smoke_runs(side: Callable[..., Path]) -> None:
    assert compare(side(BASE, smoke=True), side(BASE, smoke=True), ["return"])[0].verdict == "same"
    with pytest.raises(ValueError, match="one of the two results of mine is of smoke runs"):
        compare(side(BASE), side(BASE, smoke=True))


def test_reports_are_compared_by_their_repeats(tmp_path: Path, sim_report: dict[str, Any]) -> None:
    report = {"benchmark": "sim", **sim_report}
    slow = json.loads(json.dumps(report))
    slow["window_s"]["forward"] = {"median": 1.0, "min": 0.9, "max": 1.1}
    other = {**report, "machine": {**report["machine"], "cpu": "Abacus 2"}}
    for name, value in (("a", report), ("b", slow), ("c", other), ("d", {**report, "task": "hopper"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    changes = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert [change.name for change in changes if change.verdict == "fell"] == ["ant, dynamics, forward"]
    assert {change.verdict for change in compare(tmp_path / "a.json", tmp_path / "a.json")} == {"same"}
    with pytest.raises(ValueError, match=r"can be compared: .*other machine"):
        compare(tmp_path / "a.json", tmp_path / "c.json")
    with pytest.raises(ValueError, match="measure the same with both"):
        compare(tmp_path / "a.json", tmp_path / "d.json")
