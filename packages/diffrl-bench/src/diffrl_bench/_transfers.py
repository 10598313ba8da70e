"""``transfers.jsonl``: policies of a suite's runs in MuJoCo C, next to its records.

The policies are those of run folders, which the records name by configuration and seed, or by their name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ._record import Field, Row, config_hash
from ._record_file import Line
from ._results import learner, problem
from ._rows import read_json
from ._side_file import side_file, told
from ._summary_text import Grid, figure

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


def record_transfer(report: Row, run: Path, folder: Path, suite: str, place: Row) -> Row:
    """Add a report of ``transfer`` to the folder of the suite's results; returns the line.

    Raises:
        RecordError: the file there ends with a line that was cut off.
        OSError: it cannot be written.
    """
    described = read_json(run / "run.json")
    keys = ("run", "algorithm", "task", "task_options", "checkpoint", "seed", "episodes", "step_ms", "here", "mujoco")
    row = {key: report[key] for key in (*keys, "return_kept", "speed_kept")}
    words = ["transfer", report["run"], "--checkpoint", report["checkpoint"], "--episodes", str(report["episodes"])]
    row["arguments"] = [*words, "--seed", str(report["seed"]), "--step-ms", f"{report['step_ms']:g}"]
    row |= {"suite": suite, "run_seed": described["seed"], "config_hash": config_hash(described)}
    return TRANSFERS.append(folder, {**row, **place})


def transferred(rows: Sequence[Row], transfers: Sequence[Line]) -> dict[str, Line]:
    """The newest transfer of each run that has one, by the run's name.

    A record whose configuration is known has the transfers of that configuration and seed; another one has those of
    its name, algorithm and task.
    """
    found: dict[str, Line] = {}
    for row in rows:
        for line in transfers:
            if row["status"] == "finished" and _same(row, line.row):
                found[row["run"]] = line
    return found


def _same(row: Row, transfer: Row) -> bool:
    if row.get("config_hash") and transfer["config_hash"]:
        return (row["config_hash"], row["seed"]) == (transfer["config_hash"], transfer["run_seed"])
    return all(row[key] == transfer[key] for key in ("run", "algorithm", "task"))


_HEAD = ("task", "learner", "seeds", "return here", "in MuJoCo C", "return kept", "speed kept")


def transfer_lines(rows: Sequence[Row], transfers: Sequence[Line]) -> list[tuple[tuple[str, ...], list[Line]]]:
    """A line of words for each learner and task, and the transfers that it is of.

    Returns are means over seeds; what is kept is a quotient of such means.
    """
    of_run = transferred(rows, transfers)
    groups: dict[tuple[str, str], list[Line]] = {}
    for row in rows:
        if row["run"] in of_run:
            groups.setdefault((problem(row), learner(row)), []).append(of_run[row["run"]])
    return [((*key, *_figures([line.row for line in group])), group) for key, group in groups.items()]


def transfer_grid(rows: Sequence[Row], transfers: Sequence[Line]) -> Grid | None:
    """The table of what policies keep in MuJoCo C; None if no run was transferred."""
    lines = transfer_lines(rows, transfers)
    if not lines:
        return None
    note = (
        "The same policies, unchanged, in MuJoCo C on the task's own model file: means over episodes, then over seeds. "
        "Kept is MuJoCo's value over ours; a negative return has none."
    )
    return Grid("Transfer to MuJoCo C", (note,), _HEAD, tuple(words for words, _ in lines))


def sources(group: Sequence[Line]) -> list[str]:
    """What each number of a line of the table is from, in words."""
    return [
        f"seed {row['run_seed']}: {figure(row['here']['return_mean'])} here, {figure(row['mujoco']['return_mean'])} in "
        f"MuJoCo C, from {row['run']}, line {number} of {TRANSFERS.name}, {told(row)}: "
        f"{' '.join(['diffrl', 'bench', *row['arguments']])}"
        for number, row in group
    ]


def _figures(rows: Sequence[Row]) -> tuple[str, ...]:
    returns = [fmean(row[side]["return_mean"] for row in rows) for side in ("here", "mujoco")]
    speeds = [fmean(row[side]["speed_mean"] for row in rows) for side in ("here", "mujoco")]
    kept = _share(returns[1], returns[0]) if all(row["return_kept"] is not None for row in rows) else "-"
    fast = _share(speeds[1], speeds[0]) if all(row["speed_kept"] is not None for row in rows) else "-"
    return (str(len(rows)), *map(figure, returns), kept, fast)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}"


def json_of(rows: Sequence[Row], transfers: Sequence[Line]) -> list[dict[str, Any]]:
    """The transfers of a suite's runs, for ``--json``."""
    return [{**line.row, "of_run": run} for run, line in transferred(rows, transfers).items()]
