"""The row of a run in the results: what was asked for, what came of it, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ._attempts import Ended
from ._machine import describe
from ._record import Row, config_hash
from ._results import as_curve, curve
from ._suite import PlannedRun
from ._traces import best_return

_FROM_SUMMARY = (
    "return_mean",
    "return_std",
    "length_mean",
    "episodes",
    "iterations",
    "env_steps",
    "wall_s",
    "device",
    "training_diverged",
    "refused_updates",
)


def planned_row(run: PlannedRun, status: str) -> Row:
    """What is known of a run before it ends."""
    who = {"run": run.name, "algorithm": run.algorithm, "task": run.task, "seed": run.seed}
    problem = {"problem": run.problem} if run.problem else {}
    return {**who, **problem, "variant": run.variant, "arguments": run.arguments, "status": status}


def ended_row(run: PlannedRun, out: Path, ended: Ended, attempts: int) -> Row:
    """The row of a run after its last attempt: it is finished if its folder says so, whatever became of the process."""
    folder = out / run.name
    row = {**planned_row(run, "failed"), "attempts": attempts, "host": ended.host}
    summary = read_json(folder / "summary.json")
    if summary.get("status") != "finished":
        return row | {"error": _error(ended, attempts, out / f"{run.name}.log")}
    row |= {"status": "finished", **{key: summary.get(key) for key in _FROM_SUMMARY}}
    row |= {"return_best": best_return(folder / "metrics.jsonl")}
    # Of the whole process, start and compilation too; of only a part they would mislead.
    whole = not ended.resumed and attempts == 1
    row |= {"process_s": ended.wall_s if whole else None, "cpu_s": ended.cpu_s if whole else None}
    description = read_json(folder / "run.json")
    row |= {key: description.get(key) for key in ("commit", "versions")}
    row |= {"load": ended.load, "config_hash": config_hash(description)}
    row["curve"] = as_curve(curve(folder / "metrics.jsonl"))
    row["missing"] = [key for key in ("commit", "versions", "load", "config_hash") if row[key] is None]
    return row


def place_of(machine: dict[str, Any]) -> Row:
    """The machine of a row: in words, and in numbers without the load, which is that of a moment."""
    return {"machine": describe(machine), "hardware": {k: v for k, v in machine.items() if k != "load_before"}}


def outcome(row: Row) -> str:
    """A row in one line."""
    if row["status"] != "finished":
        return f"{row['run']}: {row['status']}, {row['error']}"
    score = "no return" if row["return_mean"] is None else f"return {row['return_mean']:.1f}"
    return f"{row['run']}: {score} after {row['wall_s']:.0f} s of training"


def imports_of(run: PlannedRun) -> list[str]:
    """The options among a run's that name the user's own modules, which a resumed run needs again."""
    named = [f"--import={value}" for option, value in pairwise(run.options) if option == "--import"]
    return [*named, *(option for option in run.options if option.startswith("--import="))]


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _error(ended: Ended, attempts: int, log: Path) -> str:
    where = f" on {ended.host}" if ended.host else ""
    if ended.vanished:
        how = ended.reason or f"exit code {ended.code}"
        times = "once" if attempts == 1 else f"{attempts} times"
        return f"its worker vanished {times}, last{where}: {how}; the same command goes on from its checkpoint"
    return ended.reason or f"exit code {ended.code}: {last_line(log)}"


def last_line(log: Path) -> str:
    """The last words of a log, for an error."""
    try:
        lines: Sequence[str] = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = ()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
