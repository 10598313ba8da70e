"""``diffrl bench models``: which robot models load, agree with MuJoCo, and can be simulated.

results.jsonl   a line for each model and build of the simulator, with where it came from; lines are only added
table.md        the newest line of each model as tables
models.svg      the same as a picture
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffsim_core
from diffrl_algos._files import exclusive

from ._corpus import Source, cache_folder, installed, own_sources, packages, sources
from ._machine import describe, machine, now, versions
from ._model_job import LOAD
from ._model_worker import Worker
from ._models_text import kind
from ._record import Row
from ._stopwatch import Progress, unseen

FORMAT = "diffrl-bench-models-1"
RESULTS = "results.jsonl"


@dataclass(frozen=True, kw_only=True)
class ModelsBench:
    """What to load and measure."""

    out: Path
    """Folder of the results; finished models of the same build are not run again."""
    files: tuple[str, ...] = ()
    """Model files and folders of your own; the corpus if there are none."""
    packages: tuple[str, ...] = ()
    """Packages of the corpus; all if there are none."""
    floating: bool = False
    """Give URDF files of your own a free joint and level ground."""
    cache: Path | None = None
    """Folder that packages are installed into; None for the user's cache."""
    measure: bool = True
    """Compare and simulate what loads, instead of loading only."""
    seconds: float = 120.0
    """Time for each model [s]."""
    memory_gib: float = 8.0
    """Memory for each model [GiB], where the system can limit it."""
    again: bool = False
    """Run finished models too."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds:g}; it must be above 0")
        if not self.memory_gib > 0:
            raise ValueError(f"memory_gib is {self.memory_gib:g}; it must be above 0")
        if self.files and self.packages:
            raise ValueError("give model files of your own, or packages of the corpus, not both")
        if self.floating and not self.files:
            raise ValueError("floating is for files of your own; the corpus says which of its models float")


def bench_models(
    bench: ModelsBench, progress: Progress = unseen, say: Callable[[str], None] = lambda line: None
) -> list[Row]:
    """Run every unfinished model in a process with limits, and return the newest row of each model that was asked for.

    Args:
        bench: what to load and measure.
        progress: told how many of the packages and of the models are done.
        say: told a line about each model.

    Raises:
        ValueError: unknown packages, files that do not exist, or damaged results.
        OSError: a package cannot be installed.
        RunError: another process writes these results.
    """
    bench.out.mkdir(parents=True, exist_ok=True)
    file = bench.out / RESULTS
    with exclusive(bench.out / ".lock", f"{bench.out} is being written by another diffrl bench models"):
        wanted = list(_sources(bench, progress))
        build = build_digest()
        facts = {"build": build, "machine": describe(machine()), "versions": versions()}
        done = {} if bench.again else {row["model"]: row for row in read_rows(file) if _settles(row, build, bench)}
        todo = [source for source in wanted if source.name not in done]
        with Worker(seconds=bench.seconds, memory_gib=bench.memory_gib) as worker:
            for k, source in enumerate(todo):
                progress("models", k / len(todo))
                row = {**_row(worker, source, bench), **facts}
                _append(file, row)
                done[source.name] = row
                say(f"{source.name}: {row['status']}")
    return [done[source.name] for source in wanted]


def _settles(row: Row, build: str, bench: ModelsBench) -> bool:
    return row["build"] == build and (row["measured"] or not bench.measure)


def _sources(bench: ModelsBench, progress: Progress) -> Iterator[Source]:
    if bench.files:
        yield from own_sources(bench.files, floating=bench.floating)
        return
    found = packages(bench.packages)
    for k, package in enumerate(found):
        progress("packages", k / len(found))
        yield from sources(package, installed(package, bench.cache or cache_folder()))


def _row(worker: Worker, source: Source, bench: ModelsBench) -> Row:
    """The result of one model."""
    job = {"file": str(source.file), "root": str(source.root), "floating": source.floating, "measure": bench.measure}
    lines, ended = worker.run(job)
    stages: dict[str, Mapping[str, Any]] = {
        line["stage"]: {k: v for k, v in line.items() if k != "stage"} for line in lines
    }
    load = dict(stages.pop(LOAD, {"status": "failed"}))
    if "problems" in load:  # one of each kind: a hand of forty meshes says the same forty times
        every = [_without_folder(text, source) for text in load["problems"]]
        load |= {"problems": list({kind(text): text for text in reversed(every)}.values())[::-1], "count": len(every)}
    row: Row = {
        "format": FORMAT,
        "model": source.name,
        "package": source.package,
        "floating": source.floating,
        "digest": hashlib.sha256(source.file.read_bytes()).hexdigest()[:16] if source.file.is_file() else None,
        **load,
        "ended": ended,
        "measured": bench.measure,
        "limits": {"seconds": bench.seconds, "memory_gib": bench.memory_gib},
        **stages,
        "date": now(),
    }
    return row


def _without_folder(text: str, source: Source) -> str:
    """A problem without the place of a package on this machine."""
    return text.replace(f"{source.root}/", "").replace(str(source.root), source.package) if source.package else text


def build_digest() -> str:
    """What tells one build of the simulator from another: a digest of its sources."""
    folder = Path(diffsim_core.__file__).parent
    digest = hashlib.sha256()
    for part in ("io", "native", "rigid"):
        for file in sorted((folder / part).rglob("*")):
            if file.suffix in (".py", ".h"):
                digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def read_rows(file: Path) -> list[Row]:
    """All rows of ``results.jsonl``, oldest first; none if there is no such file.

    Raises:
        ValueError: the file is damaged, or of another program.
    """
    rows: list[Row] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.exists() else (), start=1):
        try:
            row = json.loads(line)
            if row["format"] != FORMAT:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{file}, line {number}, was not written by diffrl bench models: remove the line"
            ) from None
        rows.append(row)
    return rows


def newest(rows: Sequence[Row]) -> list[Row]:
    """The last row of each model, in the order in which models came first."""
    return list({row["model"]: row for row in rows}.values())


def _append(file: Path, row: Row) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row, allow_nan=False) + "\n")
