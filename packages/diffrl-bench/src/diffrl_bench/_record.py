"""One record for every run: a JSON object on one line of ``results.jsonl``, with what it takes to trust and repeat it.

``FIELDS`` is the schema. A line is only ever added: when a run begins (``unfinished``), and when it ends. The newest
line of a run counts. What is not known of an older result is null, and ``missing`` names it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

FORMAT = "diffrl-bench-record-1"
STATUSES = ("unfinished", "failed", "finished")
PROVENANCE = ("time", "commit", "versions", "hardware", "load", "config_hash")
"""What a finished row may lack only if its ``missing`` says so."""

Row = dict[str, Any]


class Field(NamedTuple):
    """One key of a record."""

    kind: str
    """``text``, ``texts``, ``whole``, ``number``, ``flag``, ``object``, ``objects`` or ``series``; with ``?``: null is
    allowed."""
    about: str
    needed: tuple[str, ...] = STATUSES
    """Statuses whose rows must have it; others may."""


class Schema(NamedTuple):
    """What the records of one file have."""

    format: str
    fields: Mapping[str, Field]
    provenance: tuple[str, ...]
    """Fields that a finished record may lack only if its ``missing`` says so."""


_ENDED = ("finished",)
FIELDS: dict[str, Field] = {
    "format": Field("text", f"the schema, {FORMAT}"),
    "suite": Field("text", "the suite that the run is part of"),
    "run": Field("text", "name of the run, unique in its suite: shac-ant-s0"),
    "algorithm": Field("text", "as diffrl train names it"),
    "task": Field("text", "as diffrl train names it"),
    "problem": Field("text", "what tells the task from another problem that its options make of it; may be absent", ()),
    "variant": Field("text", "what tells it from runs of the same algorithm and task with other options; may be empty"),
    "seed": Field("whole", "seed of the run"),
    "arguments": Field("texts", "arguments of diffrl train, without the run folder: they repeat the run"),
    "status": Field("text", "unfinished, failed or finished"),
    "error": Field("text?", "what a failed run ended with", ("failed",)),
    "jobs": Field("whole?", "runs at a time on the machine"),
    "threads": Field("whole?", "CPU threads of the simulator"),
    "machine": Field("text?", "the machine in words"),
    "host": Field("text?", "name of the machine of the last attempt", ()),
    "attempts": Field("whole?", "attempts of the call that wrote this; above 1 where a worker vanished", ()),
    "smoke": Field("flag", "true for a few updates that show that the suite runs; no result", ()),
    "time": Field("text?", "when the line was written, UTC, ISO 8601", _ENDED),
    "commit": Field("text?", "commit of this project's sources; +changes where files differed from it", _ENDED),
    "versions": Field("object?", "versions of Python and of the packages", _ENDED),
    "hardware": Field("object?", "processor, cores, memory [GiB], system, GPU", _ENDED),
    "load": Field("number?", "load average of the last minute when the run began", _ENDED),
    "config_hash": Field("text?", "SHA-256 of the whole configuration, defaults included, but for the seed", _ENDED),
    "missing": Field("texts", "fields of provenance that are null because nobody wrote them down", ()),
    "device": Field("text?", "cpu, cuda or cuda:i", _ENDED),
    "return_mean": Field("number?", "return of the final evaluation, mean over episodes; deterministic policy", _ENDED),
    "return_std": Field("number?", "standard deviation over those episodes", _ENDED),
    "return_best": Field("number?", "largest mean return of the last 100 training episodes over all updates", ()),
    "length_mean": Field("number?", "control steps of an evaluation episode, mean", _ENDED),
    "episodes": Field("whole?", "episodes of the final evaluation", _ENDED),
    "iterations": Field("whole", "updates", _ENDED),
    "env_steps": Field("whole", "control steps of all worlds together", _ENDED),
    "wall_s": Field("number", "seconds of training, without start and evaluation", _ENDED),
    "process_s": Field("number?", "seconds of the whole process; null where it was interrupted", ()),
    "cpu_s": Field("number?", "processor time of the whole process [s]; null where it was interrupted", ()),
    "training_diverged": Field("whole?", "world steps that left the finite range in training", _ENDED),
    "refused_updates": Field("whole?", "updates that were refused because a gradient was not finite", _ENDED),
    "curve": Field(
        "series?",
        "learning curve, at most 200 points: iteration, env_steps, wall_s, return_mean of the last 100 episodes; "
        "null where it was not kept",
    )._replace(needed=_ENDED),
    "traces": Field("series?", "metrics that the suite keeps over updates, at most 100 points, and iteration", ()),
}
RUNS = Schema(FORMAT, FIELDS, PROVENANCE)
CURVE_KEYS = ("iteration", "env_steps", "wall_s", "return_mean")


class RecordError(ValueError):
    """A record that cannot be used; the message says where it is and what to do."""


def problems_of(row: Any) -> list[str]:
    """What is wrong with one record, in words; empty if nothing is."""
    found = problems_by(row, RUNS)
    if not found:
        found += [f"{key} is negative" for key in ("seed", "iterations", "env_steps", "wall_s") if row.get(key, 0) < 0]
        if row.get("curve") is not None and (without := [key for key in CURVE_KEYS if key not in row["curve"]]):
            found.append(f"curve lacks {', '.join(without)}")
    return found


def problems_by(row: Any, schema: Schema) -> list[str]:
    """What is wrong with one record, as its schema has it; empty if nothing is."""
    if not isinstance(row, dict):
        return ["is not a JSON object"]
    if row.get("format") != schema.format:
        return [f"has the format {row.get('format')!r}, not {schema.format!r}; another version wrote it"]
    fields = schema.fields
    found = [_unknown(key, fields) for key in row if key not in fields]
    if (status := row.get("status")) not in STATUSES:
        return [*found, f"has the status {status!r}; expected {', '.join(STATUSES)}"]
    found += [f"lacks {key!r}" for key, field in fields.items() if status in field.needed and key not in row]
    wrong = [key for key, field in fields.items() if key in row and not _fits(row[key], field.kind)]
    found += [f"{key} is {_short(row[key])}; expected {_KINDS[fields[key].kind.rstrip('?')][1]}" for key in wrong]
    return found or [f"{key!r} is null and not in 'missing'" for key in _unexplained(row, schema.provenance)]


def config_hash(description: Mapping[str, Any]) -> str | None:
    """SHA-256 of what a run's ``run.json`` says was trained, but for the seed, the device and what is kept on disk.

    Equal for the seeds of one experiment; None if there is no description.
    """
    keys = ("algorithm", "task", "num_envs", "eval_episodes", "task_options", "budget", "config")
    told = {key: description[key] for key in keys if key in description}
    if "config" not in told:
        return None
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_ELSEWHERE = ("--seed", "--device", "--out")
"""Options that do not say what is trained."""


def settings_of(row: Row) -> tuple[str, ...]:
    """The arguments of a run but for its seed and device: equal for the seeds of one experiment."""
    words = ["", *row["arguments"]]
    kept = [word for before, word in pairwise(words) if before not in _ELSEWHERE and word not in _ELSEWHERE]
    return tuple(word for word in kept if not word.startswith(tuple(f"{option}=" for option in _ELSEWHERE)))


def _unexplained(row: Row, provenance: Sequence[str]) -> list[str]:
    if row["status"] != "finished":
        return []
    return [key for key in provenance if row[key] is None and key not in row.get("missing", ())]


def _unknown(key: str, fields: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, fields, n=1)
    return f"has the unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_series(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(points, list) for points in value.values()):
        return False
    lists: Sequence[list[Any]] = list(value.values())
    same = len({len(points) for points in lists}) <= 1
    return same and all(point is None or is_number(point) for points in lists for point in points)


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda value: isinstance(value, str), "a text"),
    "texts": (lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value), "a list of texts"),
    "whole": (lambda value: type(value) is int, "a whole number"),
    "number": (is_number, "a finite number"),
    "flag": (lambda value: type(value) is bool, "true or false"),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "objects": (lambda value: isinstance(value, list) and all(isinstance(v, dict) for v in value), "a list of objects"),
    "series": (_is_series, "an object of equally long lists of numbers and nulls"),
}


def _fits(value: Any, kind: str) -> bool:
    return (value is None and kind.endswith("?")) or (value is not None and _KINDS[kind.rstrip("?")][0](value))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
