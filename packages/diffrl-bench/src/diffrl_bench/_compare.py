"""``diffrl bench compare``: which returns and speeds fell by more than their interval."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._found import find
from ._record import Row
from ._record_file import NAME, read_rows
from ._results import learner, problem
from ._statistics import SEEDS, Interval, difference_interval, iqm
from ._summary_text import figure, span
from ._text import count, table

RETURN, SPEED = "return", "speed"
FELL, ROSE, SAME, UNKNOWN = "fell", "rose", "same", "not compared"
_LEAST = 3
"""Seeds of each side whose ranges are compared where there is no interval: by chance alone one of twenty falls."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One quantity, before and after; larger is better."""

    suite: str
    what: str
    """``return`` or ``speed``."""
    name: str
    """What it is of: ``shac ant``."""
    verdict: str
    note: str = ""
    seeds: tuple[int, int] = (0, 0)
    base: float | None = None
    """Interquartile mean, or a median of repeats."""
    new: float | None = None
    interval: Interval | None = None
    """Of the difference."""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "seeds": list(self.seeds), "interval": self.interval and list(self.interval)}


def compare(base: Path, new: Path, kinds: Sequence[str] = (RETURN, SPEED), tolerance: float = 0.0) -> list[Change]:
    """All returns and speeds that both sides have, and what one of them lacks.

    Args:
        base: before: a folder of results, a folder of such folders, ``results.jsonl``, or a report of
            ``diffrl bench sim`` or ``update`` with ``--json``.
        new: after, of the same kind.
        kinds: ``return``, ``speed`` or both.
        tolerance: how much lower the new value may be, as a fraction of the old one's size, before it falls.

    Raises:
        ValueError: one cannot be read, is damaged, or nothing is in both.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; it must be at least 0 and less than 1")
    if base.suffix == ".json" or new.suffix == ".json":
        changes = list(_of_reports(base, new)) if SPEED in kinds else []
    else:
        changes = list(_of_runs(_groups(base), _groups(new), kinds, tolerance))
    if not any(change.verdict != UNKNOWN for change in changes):
        reasons = "; ".join(f"{one.what} of {one.name}: {one.note}" for one in changes[:3])
        raise ValueError(f"nothing in {base} and {new} can be compared{': ' if reasons else ''}{reasons}")
    return sorted(changes, key=lambda change: (FELL, ROSE, SAME, UNKNOWN).index(change.verdict))


def compare_text(changes: Sequence[Change]) -> str:
    """A table of changes, what fell first, and their numbers."""
    head = ("", "verdict", "base", "new", "difference, 95 % interval", "seeds", "note")
    lines = [
        (
            f"{one.suite}: {one.what} of {one.name}",
            one.verdict,
            figure(one.base),
            figure(one.new),
            span(one.interval),
            f"{one.seeds[0]}, {one.seeds[1]}" if any(one.seeds) else "-",
            one.note or "-",
        )
        for one in changes
    ]
    numbers = [f"{sum(one.verdict == verdict for one in changes)} {verdict}" for verdict in (FELL, ROSE, SAME, UNKNOWN)]
    return f"{table(head, lines)}\n\n{count(len(changes), 'comparison')}: {', '.join(numbers)}"


_Key = tuple[str, str, str]


def _groups(path: Path) -> dict[_Key, list[Row]]:
    """Records of each suite, learner and task."""
    if path.is_dir():
        rows = [row for found in find(None, str(path)) if found.suite.runs for row in found.rows]
    elif path.exists():
        rows = read_rows(path)
    else:
        raise ValueError(f"{path} does not exist; give a folder of results, {NAME}, or a report as .json")
    found: dict[_Key, list[Row]] = {}
    for row in rows:
        found.setdefault((row["suite"], learner(row), problem(row)), []).append(row)
    return found


def _of_runs(
    base: Mapping[_Key, list[Row]], new: Mapping[_Key, list[Row]], kinds: Sequence[str], tolerance: float
) -> Iterator[Change]:
    for key in dict.fromkeys([*base, *new]):
        suite, name, task = key
        told: dict[str, Any] = {"suite": suite, "name": f"{name} {task}"}
        if key not in base or key not in new:
            yield Change(**told, what=RETURN, verdict=UNKNOWN, note=f"only in {'new' if key in new else 'base'}")
            continue
        if any(row.get("smoke") for row in base[key]) != any(row.get("smoke") for row in new[key]):
            raise ValueError(f"one of the two results of {suite} is of smoke runs and the other is not")
        before, after = (_finished(side[key]) for side in (base, new))
        lost = sorted({row["seed"] for row in before} & {row["seed"] for row in new[key] if row["status"] == "failed"})
        if lost:
            note = f"failed, but finished before: seed {', '.join(map(str, lost))}"
            yield Change(**told, what=RETURN, verdict=FELL, note=note, seeds=(len(before), len(after)))
            continue
        if RETURN in kinds:
            notes = [] if _configs(before) == _configs(after) else ["other configuration"]
            yield _change(told, RETURN, _returns(before), _returns(after), notes, tolerance)
        if SPEED in kinds:
            if _places(before) != _places(after):
                note = "other machine, threads or runs at a time"
                yield Change(**told, what=SPEED, verdict=UNKNOWN, note=note, seeds=(len(before), len(after)))
            else:
                time = "cpu_s" if all(row.get("cpu_s") for row in (*before, *after)) else "wall_s"
                of = {"cpu_s": "control steps per second of processor time", "wall_s": "control steps per second"}[time]
                yield _change(told, SPEED, _speeds(before, time), _speeds(after, time), [of], tolerance)


def _change(
    told: Mapping[str, Any], what: str, base: list[float], new: list[float], notes: list[str], tolerance: float
) -> Change:
    seeds = (len(base), len(new))
    if not base or not new:
        return Change(**told, what=what, verdict=UNKNOWN, seeds=seeds, note="no finished run has it")
    middle = (iqm(base), iqm(new))
    allowed = tolerance * abs(middle[0])
    interval = difference_interval(new, base)
    if sorted(base) == sorted(new):
        verdict, notes = SAME, [*notes, "the same numbers"]
    elif interval is not None:
        verdict = FELL if interval.high < -allowed else ROSE if interval.low > 0 else SAME
    elif min(seeds) >= _LEAST:
        notes = [*notes, f"by ranges: too few seeds for an interval ({min(seeds)} of {SEEDS})"]
        verdict = FELL if max(new) < min(base) - allowed else ROSE if min(new) > max(base) else SAME
    else:
        verdict, notes = UNKNOWN, [*notes, f"too few seeds ({min(seeds)} of {_LEAST})"]
    return Change(
        **told,
        what=what,
        verdict=verdict,
        note="; ".join(notes),
        seeds=seeds,
        base=middle[0],
        new=middle[1],
        interval=interval,
    )


def _finished(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "finished"]


def _returns(rows: Sequence[Row]) -> list[float]:
    return [row["return_mean"] for row in rows if row["return_mean"] is not None]


def _speeds(rows: Sequence[Row], time: str) -> list[float]:
    return [row["env_steps"] / row[time] for row in rows if row[time]]


def _configs(rows: Sequence[Row]) -> set[str | None]:
    return {row["config_hash"] for row in rows}


def _places(rows: Sequence[Row]) -> set[tuple[Any, ...]]:
    return {tuple(row[key] for key in ("machine", "device", "threads", "jobs")) for row in rows}


def _of_reports(base: Path, new: Path) -> Iterator[Change]:
    """Speeds of two reports; a repeat is what a seed is to a return."""
    reports = [_report(path) for path in (base, new)]
    asked = [{key: value for key, value in report.items() if key in _ASKED} for report in reports]
    if asked[0] != asked[1]:
        raise ValueError(f"{base} is of {asked[0]} and {new} of {asked[1]}; measure the same with both")
    same = [report["machine"].get("cpu") == reports[0]["machine"].get("cpu") for report in reports]
    sides = [_durations(report) for report in reports]
    told = {"suite": asked[0]["benchmark"], "what": SPEED}
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        one = f"{asked[0]['task']}, {name}"
        if name not in sides[0] or name not in sides[1]:
            yield Change(**told, name=one, verdict=UNKNOWN, note="only in one of the two")
        elif not all(same):
            yield Change(**told, name=one, verdict=UNKNOWN, note="other machine")
        else:
            a, b = (side[name] for side in sides)
            verdict = FELL if b["min"] > a["max"] else ROSE if b["max"] < a["min"] else SAME
            note = "per second, medians; by ranges of repeats"
            yield Change(**told, name=one, verdict=verdict, note=note, base=1 / a["median"], new=1 / b["median"])


_ASKED = ("benchmark", "task", "algo", "num_envs", "horizon", "device", "dtype", "threads")


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["benchmark"] not in ("sim", "update") or not _durations(report):
            raise ValueError
        return dict(report)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is not a report of diffrl bench sim or update with --json") from None


def _durations(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Median, smallest and largest time of each thing that was timed [s]."""
    if report["benchmark"] == "update":
        return {"update": report["update_s"]}
    parts = {"dynamics": report["window_s"], "environment": report["env"]["window_s"]}
    return {f"{part}, {kind.replace('_', ' + ')}": each[kind] for part, each in parts.items() for kind in each}
