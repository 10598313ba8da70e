"""Records: what is valid, what is named as wrong, and what survives a full disk and older results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrl_bench._migrate import migrate
from diffrl_bench._record import FIELDS, FORMAT, PROVENANCE, RecordError, config_hash, problems_of, settings_of
from diffrl_bench._record_file import append_row, read_rows
from diffrl_bench.cli import main

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

RESULTS = Path(__file__).parents[3] / "docs/results"


def test_a_record_is_valid_and_survives_the_file(record: Make, tmp_path: Path) -> None:
    assert {"error", "missing", "traces"} <= set(FIELDS) - set(record()) and not set(record()) - set(FIELDS)
    file = tmp_path / "results.jsonl"
    assert read_rows(file) == []
    begun = {key: record()[key] for key, field in FIELDS.items() if "unfinished" in field.needed}
    for row in ({**begun, "status": "unfinished"}, record(), record(1)):
        append_row(file, row)
    assert read_rows(file) == [record(), record(1)], "the newest line of a run counts"
    assert len(file.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"retrun_mean": 3.0}, "has the unknown key 'retrun_mean'; did you mean 'return_mean'?"),
        ({"seed": "0"}, 'seed is "0"; expected a whole number'),
        ({"seed": True}, "seed is true; expected a whole number"),
        ({"seed": -1}, "seed is negative"),
        ({"wall_s": None}, "wall_s is null; expected a finite number"),
        ({"return_mean": float("nan")}, "return_mean is NaN; expected a finite number"),
        ({"status": "done"}, "has the status 'done'; expected unfinished, failed, finished"),
        ({"format": "other"}, f"has the format 'other', not {FORMAT!r}; another version wrote it"),
        ({"commit": None}, "'commit' is null and not in 'missing'"),
        ({"curve": {"iteration": [1]}}, "curve lacks env_steps, wall_s, return_mean"),
        ({"traces": {"iteration": [1], "alpha": []}}, "expected an object of equally long lists of numbers and nulls"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(record: Make, changes: dict[str, Any], problem: str) -> None:
    assert any(problem in found for found in problems_of(record(**changes))), problems_of(record(**changes))


@pytest.mark.parametrize("key", [key for key, field in FIELDS.items() if "finished" in field.needed])
def test_every_needed_field_is_asked_for(record: Make, key: str) -> None:
    row = record()
    del row[key]
    assert problems_of(row)


def test_provenance_that_nobody_knows_is_named(record: Make) -> None:
    assert problems_of(record(missing=list(PROVENANCE), **dict.fromkeys(PROVENANCE))) == []


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (lambda record: [record(), record()], r"shac-ant-s0 is finished in line 1 and there again in line 2; keep one"),
        (
            lambda record: [record(), record(status="failed", error="x")],
            r"finished in line 1 and there again in line 2",
        ),
        (
            lambda record: [record(), record(run="other")],
            r"shac-ant-s0 \(line 1\) and other \(line 2\) are both seed 0 of shac on ant; they would count twice",
        ),
        (
            lambda record: [record(), record(1, arguments=["shac", "ant", "--seed", "1", "--gamma", "0.9"])],
            r"s0 \(line 1\) and shac-ant-s1 \(line 2\) are both shac on ant but .*--gamma 0.9.*a variant",
        ),
        (
            lambda record: [record(), record(1, config_hash="e" * 64)],
            r"different configurations, as their config_hash says",
        ),
        (
            lambda record: [record(), record(1, suite="other")],
            r"mixes the suites 'mine' \(line 1\) and 'other' \(line 2\)",
        ),
        (lambda record: [record(), record(1, smoke=True)], r"mixes smoke runs \(line 2\) and results \(line 1\)"),
        (lambda record: [record(), {**record(1), "seed": 1.5}], r"results.jsonl, line 2: it seed is 1.5"),
    ],
)
def test_lines_that_contradict_each_other(
    record: Make, write: Write, tmp_path: Path, rows: Callable[[Make], list[dict[str, Any]]], problem: str
) -> None:
    with pytest.raises(RecordError, match=problem):
        read_rows(write(tmp_path / "results.jsonl", *rows(record)))


def test_other_devices_variants_and_problems_are_no_contradiction(record: Make, write: Write, tmp_path: Path) -> None:
    other = record(1, arguments=["shac", "ant", "--seed", "1", "--device", "cuda"])
    long = record(run="shac-ant-long-s0", variant="long", config_hash="e" * 64)
    stiff = record(run="shac-ant-stiff-s0", problem="stiff", config_hash="d" * 64)
    assert len(read_rows(write(tmp_path / "results.jsonl", record(), other, long, stiff))) == 4
    assert settings_of(other) == ("shac", "ant") == settings_of(record(arguments=["shac", "ant", "--seed=3"]))


def test_a_line_that_was_cut_off_is_named_and_nothing_is_added_behind_it(
    record: Make, write: Write, tmp_path: Path
) -> None:
    file = write(tmp_path / "results.jsonl", record(), record(1))
    whole = file.read_text()
    file.write_text(whole[:-40])
    cut = r"results.jsonl, line 2 is cut off: .*delete this line, and the same command records its run again"
    with pytest.raises(RecordError, match=cut):
        read_rows(file)
    with pytest.raises(RecordError, match=cut):
        append_row(file, record(2))
    assert file.read_text() == whole[:-40]
    file.write_text(whole.replace('"seed": 0', '"seed": '))
    with pytest.raises(RecordError, match=r"line 1 is not JSON"):
        read_rows(file)


def test_a_full_disk_leaves_the_file_as_it_was(
    record: Make, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "results.jsonl", record())
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append_row(file, record(1))
    assert file.read_bytes() == before


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 10**6), junk=st.text(max_size=4))
def test_damage_anywhere_is_an_error_or_another_valid_record(
    record: Make, tmp_path_factory: pytest.TempPathFactory, cut: int, junk: str
) -> None:
    """Whatever replaces a part of the file, no row is half read: it is refused with its line, or valid."""
    file = tmp_path_factory.mktemp("damage") / "results.jsonl"
    text = json.dumps(record()) + "\n" + json.dumps(record(1)) + "\n"
    place = cut % len(text)
    file.write_text(text[:place] + junk + text[place + 1 :], encoding="utf-8", newline="")
    try:
        rows = read_rows(file)
    except RecordError as error:
        assert "line" in str(error)
    else:
        assert all(problems_of(row) == [] for row in rows)


def test_the_hash_is_of_what_is_trained() -> None:
    run = {"algorithm": "shac", "task": "ant", "num_envs": 64, "config": {"gamma": 0.9}, "task_options": {}}
    same = {**run, "seed": 3, "device": "cuda", "keep_checkpoints": 9, "commit": "c0ffee"}
    assert config_hash(run) == config_hash(same)
    assert config_hash(run) != config_hash({**run, "config": {"gamma": 0.91}})
    assert config_hash({"seed": 0}) is None


def test_older_results_become_records(record: Make, tmp_path: Path) -> None:
    run = {key: record()[key] for key in ("run", "algorithm", "task", "seed", "arguments", "status", "return_mean")}
    run |= {key: record()[key] for key in ("iterations", "env_steps", "wall_s", "commit", "versions", "machine")}
    run |= {"return_std": 1.0, "length_mean": 2.0, "episodes": 3, "device": "cpu", "training_diverged": 0}
    old = {"format": "diffrl-bench-results-1", "suite": "mine", "runs": [{**run, "refused_updates": 0}]}
    (tmp_path / "results.json").write_text(json.dumps(old))
    (tmp_path / "curves.csv").write_text("run,iteration,env_steps,wall_s,return_mean\nshac-ant-s0,1,64,0.5,-2.5\n")
    (tmp_path / "traces.csv").write_text("run,iteration,alpha\nshac-ant-s0,1,nan\n")
    with pytest.raises(RecordError, match=r"earlier version; convert it: diffrl bench migrate"):
        read_rows(tmp_path / "results.jsonl")
    assert main(["migrate", str(tmp_path)]) == 0
    (row,) = read_rows(tmp_path / "results.jsonl")
    assert row["missing"] == ["time", "hardware", "load", "config_hash"] and row["commit"] == "c0ffee"
    assert row["curve"] == {"iteration": [1], "env_steps": [64], "wall_s": [0.5], "return_mean": [-2.5]}
    assert row["traces"] == {"iteration": [1], "alpha": [None]}
    with pytest.raises(RecordError, match="exists already"):
        migrate(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "runs": []}', '{"runs": 3}'])
def test_foreign_files_are_not_converted(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RecordError, match="damaged or was not written by"):
        migrate(tmp_path)
    assert not (tmp_path / "results.jsonl").exists()


def test_committed_results_are_valid(
    record: Make, write: Write, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = [str(file.parent) for file in RESULTS.glob("*/results.jsonl") if file.parent.name != "models"]
    assert len(folders) >= 23
    assert main(["check", *folders]) == 0
    write(tmp_path / "results.jsonl", record(), record())
    assert main(["check", str(tmp_path)]) == 2
    assert "line 1 and there again in line 2" in capfd.readouterr().out
