"""``transfers.jsonl``: policies of a suite's runs in MuJoCo C, next to its records.

The policies are those of run folders, which the records name by configuration and seed, or by their name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ._record import Field, Row, config_hash
from ._record_file import Line
from ._results import learner, problem, read_results
from ._rows import read_json
from ._side_file import place, side_file

_SIDE = "return_mean, return_std, length_mean, speed_mean [m/s] and diverged world steps"
TRANSFERS = side_file(
    "transfers.jsonl",
    "diffrl-bench-transfer-1",
    {
        "run": Field("text", "name of the run's folder"),
        "algorithm": Field("text", "as diffrl train names it"),
        "task": Field("text", "as diffrl train names it"),
        "task_options": Field("object", "options of the task"),
        "run_seed": Field("whole", "seed of the run"),
        "config_hash": Field("text?", "of the run's configuration, as in its record"),
        "arguments": Field("texts", "arguments of diffrl bench: they repeat it where the run's folder is"),
        "checkpoint": Field("text", "last, best, or an iteration"),
        "seed": Field("whole", "seed of the starts"),
        "episodes": Field("whole", "episodes on each side"),
        "step_ms": Field("number", "longest step of MuJoCo [ms]"),
        "here": Field("object", f"in our engine: {_SIDE}"),
        "mujoco": Field("object", f"in MuJoCo C: {_SIDE}"),
        "return_kept": Field("number?", "return there over return here; null where that says nothing"),
        "speed_kept": Field("number?", "the same of the speeds"),
    },
)


class Transferred(NamedTuple):
    """One learner on one task: means over the seeds whose policies were transferred."""

    task: str
    learner: str
    runs: tuple[tuple[str, Line], ...]
    """Names of the records, and the lines of their transfers."""
    here: float
    """Return in our engine."""
    mujoco: float
    """Return in MuJoCo C."""
    return_kept: float | None
    """The latter over the former; None where that says nothing."""
    speed_kept: float | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self._asdict(), "runs": [name for name, _ in self.runs]}


def transfers_of(rows: Sequence[Row], transfers: Sequence[Line]) -> list[Transferred]:
    """What the policies of a suite keep in MuJoCo C, in the order of its records; of a run the newest transfer counts.

    A record whose configuration is known has the transfers of that configuration and seed; another one has those of
    its name, algorithm and task.
    """
    groups: dict[tuple[str, str], list[tuple[str, Line]]] = {}
    for row in rows:
        of_it = [line for line in transfers if _same(row, line.row)]
        if of_it and row["status"] == "finished":
            groups.setdefault((problem(row), learner(row)), []).append((row["run"], of_it[-1]))
    return [_summed(task, name, runs) for (task, name), runs in groups.items()]


def _summed(task: str, name: str, runs: Sequence[tuple[str, Line]]) -> Transferred:
    rows = [line.row for _, line in runs]
    here, there = (fmean(row[side]["return_mean"] for row in rows) for side in ("here", "mujoco"))
    slow, fast = (fmean(row[side]["speed_mean"] for row in rows) for side in ("here", "mujoco"))
    kept = there / here if all(row["return_kept"] is not None for row in rows) else None
    speed = fast / slow if all(row["speed_kept"] is not None for row in rows) else None
    return Transferred(task, name, tuple(runs), here, there, kept, speed)


def _same(row: Row, transfer: Row) -> bool:
    if row.get("config_hash") and transfer["config_hash"]:
        return (row["config_hash"], row["seed"]) == (transfer["config_hash"], transfer["run_seed"])
    return all(row[key] == transfer[key] for key in ("run", "algorithm", "task"))


class Transfers:
    """Adds transfers to the folder of a suite's results, of runs that its records have.

    Args:
        folder: of the results.
        runs: run folders that are going to be transferred.

    Raises:
        ValueError: there are no results, or a run is none of theirs.
    """

    def __init__(self, folder: Path, runs: Sequence[Path]) -> None:
        self._folder = folder
        rows = [row for row in read_results(folder) if row["status"] == "finished"]
        if not rows:
            raise ValueError(f"{folder} holds no results of a suite; transfers are kept next to those")
        self._suite = rows[0]["suite"]
        for run in runs:
            if not any(_same(row, _who(run)) for row in rows):
                raise ValueError(
                    f"{run} is no finished run of {self._suite} in {folder}: no record has its configuration"
                )

    def add(self, report: Row, run: Path) -> Row:
        """Add the report of ``transfer`` of a run; returns the line.

        Raises:
            RecordError: the file ends with a line that was cut off.
            OSError: it cannot be written.
        """
        words = ["transfer", report["run"], "--checkpoint", report["checkpoint"], "--episodes", str(report["episodes"])]
        words += ["--seed", str(report["seed"]), "--step-ms", f"{report['step_ms']:g}"]
        of_it = {key: report[key] for key in TRANSFERS.schema.fields if key in report}
        row = {"suite": self._suite, "arguments": words, **of_it, **_who(run), **place(report["machine"])}
        return TRANSFERS.append(self._folder, row)


def _who(run: Path) -> Row:
    """What a transfer has of its run."""
    told = read_json(run / "run.json")
    known = {"algorithm": told.get("algorithm"), "task": told.get("task"), "run_seed": told.get("seed")}
    return {"run": run.resolve().name, **known, "config_hash": config_hash(told)}
