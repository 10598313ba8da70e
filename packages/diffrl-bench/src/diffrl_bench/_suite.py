"""Suites: the algorithms, tasks and seeds of many runs, as TOML."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from diffrl_algos._files import file_name

from ._measurement import Measurement
from ._metrics import metric_of
from ._references import Reference, references_of

_KEYS = ("name", "about", "jobs", "threads", "options", "train", "traces", "metrics", "references")
_MEASURING_KEYS = ("name", "about", "measure")
_MEASURE_KEYS = ("name", "command", "smoke")
_TRAIN_KEYS = ("algorithm", "task", "problem", "variant", "seeds", "options")


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training run of a suite."""

    algorithm: str
    task: str
    seed: int
    options: tuple[str, ...] = ()
    """Additional options of ``diffrl train``."""
    problem: str = ""
    """What tells the task from another problem that its options make of it: ``stiff``. Results are compared within."""
    variant: str = ""
    """What tells it from runs of the same algorithm and task with other options."""

    @property
    def name(self) -> str:
        """``shac-ant-s0``, or ``shac-ant-long-s0`` with the variant ``long``.

        It is also the name of its folder, so ``gym:my/Robot-v0`` is ``gym-my-Robot-v0`` in it.
        """
        return file_name(
            "-".join(filter(None, [self.algorithm, self.task, self.problem, self.variant, f"s{self.seed}"]))
        )

    @property
    def arguments(self) -> list[str]:
        """Arguments of ``diffrl train``, without the run folder."""
        return [self.algorithm, self.task, "--seed", str(self.seed), *self.options]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Runs, or measurements, that belong together."""

    name: str
    about: str = ""
    jobs: int = 1
    """Runs at a time."""
    threads: int | None = None
    """CPU threads of each run's simulator; None divides the cores among the jobs."""
    runs: tuple[PlannedRun, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    """Measurements in the place of runs; a suite has either."""
    traces: tuple[str, ...] = ()
    """Metrics of an update that are kept over the run, in addition to the learning curve."""
    metrics: tuple[str, ...] = ()
    """What tables show in addition to final returns, as ``metric_of`` names it."""
    references: tuple[Reference, ...] = ()
    """What papers say, to stand beside the results."""
    smoke: bool = False
    """Whether these are its runs with a few updates, to see that they run; see ``smoke_of``."""

    def __post_init__(self) -> None:
        if self.runs and self.measurements:
            raise ValueError(f"suite {self.name!r} trains and measures; make two suites of it")
        names = [one.name for one in self.measurements]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"suite {self.name!r} has the measurement {', '.join(sorted(twice))} more than once")
        names = [run.name for run in self.runs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"suite {self.name!r} has {', '.join(sorted(twice))} more than once; tell [[train]] tables of one "
                'algorithm and task apart with a variant: variant = "NAME"'
            )


def with_seeds(suite: Suite, count: int) -> Suite:
    """The suite with the seeds 0 to ``count`` - 1 for everything that it trains.

    Raises:
        ValueError: ``count`` is not positive, or the suite has measurements.
    """
    if count < 1:
        raise ValueError(f"seeds is {count}; it must be at least 1")
    if suite.measurements:
        raise ValueError(f"suite {suite.name} has measurements, and --seeds is for suites that train")
    runs = [replace(run, seed=seed) for run in _without_seeds(suite) for seed in range(count)]
    return replace(suite, runs=tuple(runs))


_BUDGETS = ("--env-steps", "--seconds")
_SMOKE = ("--iterations", "2", "--num-envs", "4", "--eval-episodes", "4")


def smoke_of(suite: Suite) -> Suite:
    """Everything that the suite trains, for one seed, two updates and four worlds: the same code, and no result.

    Measurements have options of their own for it.
    """
    measurements = [replace(one, command=(*one.command, *one.smoke), smoke=()) for one in suite.measurements]
    runs = [replace(run, options=(*_without_budget(run.options), *_SMOKE)) for run in _without_seeds(suite)]
    return replace(suite, runs=tuple(runs), measurements=tuple(measurements), smoke=True)


def _without_budget(options: Sequence[str]) -> list[str]:
    """The options of a run but for its control steps or seconds, beside which a number of updates is an error."""
    words = ["", *options, ""]
    kept = [word for before, word in pairwise(words) if before not in _BUDGETS and word not in _BUDGETS]
    return [word for word in kept[:-1] if not word.startswith(tuple(f"{name}=" for name in _BUDGETS))]


def _without_seeds(suite: Suite) -> list[PlannedRun]:
    """The first seed of every algorithm, task and variant."""
    first: dict[tuple[str, ...], PlannedRun] = {}
    for run in suite.runs:
        first.setdefault((run.algorithm, run.task, run.problem, run.variant), run)
    return list(first.values())


def list_suites() -> list[str]:
    """Names of the suites that come with this package."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))


def load_suite(name_or_path: str) -> Suite:
    """A suite that comes with this package, or one from a ``.toml`` file.

    Raises:
        ValueError: there is no suite of that name, or the file is not a suite; the message names the error.
    """
    if name_or_path in list_suites():
        return parse_suite((_folder() / f"{name_or_path}.toml").read_text(encoding="utf-8"), name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise _unknown("suite", name_or_path, list_suites(), ", or give the path of a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"suite {path} cannot be read: {error}") from None
    return parse_suite(text, str(path))


def parse_suite(text: str, source: str) -> Suite:
    """A suite from TOML; ``source`` names it in errors.

    Raises:
        ValueError: as ``load_suite``.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"suite {source} is not valid TOML: {error}") from None
    if "measure" in tables:
        return _measuring(tables, source)
    _only(tables, (*_KEYS, "measure"), f"suite {source}")
    shared = _texts(tables, "options", f"suite {source}")
    runs = []
    for where, entry in _entries(tables, "train", _TRAIN_KEYS, source):
        options = (*shared, *_texts(entry, "options", where))
        seeds = _get(entry, "seeds", list, where)
        if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
            raise ValueError(f"{where}: seeds is {seeds!r}; expected a list of integers, none negative")
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise ValueError(f"{where}: seeds has {', '.join(map(str, twice))} more than once; each seed is one run")
        algorithms, tasks = (_names(entry, key, where) for key in ("algorithm", "task"))
        problem, variant = (_word(entry, key, where) for key in ("problem", "variant"))
        runs += [
            PlannedRun(algorithm=algorithm, task=task, problem=problem, variant=variant, options=options, seed=seed)
            for algorithm in algorithms
            for task in tasks
            for seed in seeds
        ]
    if not runs:
        raise ValueError(f"suite {source} has no runs; add a [[train]] table, or a [[measure]] table")
    traces = _texts(tables, "traces", f"suite {source}")
    jobs, threads = _get(tables, "jobs", int, source, 1), _get(tables, "threads", int, source, None)
    if jobs < 1 or (threads is not None and threads < 1):
        raise ValueError(f"suite {source}: jobs and threads must be at least 1")
    return Suite(
        name=_name(tables, f"suite {source}"),
        about=_about(tables, f"suite {source}"),
        jobs=jobs,
        threads=threads,
        runs=tuple(runs),
        traces=traces,
        metrics=_metrics(tables, f"suite {source}"),
        references=references_of(_texts(tables, "references", f"suite {source}"), f"suite {source}"),
    )


def _metrics(tables: Mapping[str, Any], where: str) -> tuple[str, ...]:
    found = _texts(tables, "metrics", where)
    for name in found:
        try:
            metric_of(name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return found


def _measuring(tables: Mapping[str, Any], source: str) -> Suite:
    """A suite of measurements."""
    if "train" in tables:
        raise ValueError(f"suite {source} has [[train]] and [[measure]] tables; make two suites of it")
    _only(tables, _MEASURING_KEYS, f"suite {source}")
    found = []
    for where, entry in _entries(tables, "measure", _MEASURE_KEYS, source):
        command, smoke = _texts(entry, "command", where), _texts(entry, "smoke", where)
        if not command:
            raise ValueError(f"{where} has no command; expected arguments of diffrl bench, such as ['sim']")
        for option, reason in (("--json", "is added to every command"), ("--help", "ends a command")):
            if option in (*command, *smoke):
                raise ValueError(f"{where}: {option} {reason}; leave it out")
        found.append(Measurement(name=_name(entry, where), command=command, smoke=smoke))
    if not found:
        raise ValueError(f"suite {source} has no measurements; add a [[measure]] table")
    name, about = _name(tables, f"suite {source}"), _about(tables, f"suite {source}")
    return Suite(name=name, about=about, measurements=tuple(found))


def _entries(
    tables: Mapping[str, Any], key: str, known: Iterable[str], source: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables ``[[key]]`` of a suite, and how errors name each."""
    for k, entry in enumerate(_get(tables, key, list, f"suite {source}")):
        where = f"suite {source}, {key} {k}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} must be a table, [[{key}]]")
        _only(entry, known, where)
        yield where, entry


def _about(tables: Mapping[str, Any], where: str) -> str:
    return _get(tables, "about", str, where, "")


def _name(table: Mapping[str, Any], where: str) -> str:
    return _spelt(_get(table, "name", str, where), "name", where, empty=False)


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = _get(table, key, list, where, [])
    if not all(isinstance(text, str) for text in found):
        raise ValueError(f"{where}: {key} is {found!r}; expected a list of texts")
    return tuple(found)


def _word(table: Mapping[str, Any], key: str, where: str) -> str:
    """A part of a run's name; it may be empty."""
    return _spelt(_get(table, key, str, where, ""), key, where, empty=True)


def _spelt(word: str, key: str, where: str, *, empty: bool) -> str:
    """A word that can stand in the name of a folder."""
    if not (word or empty) or not all(c.isalnum() or c in "-_." for c in word):
        raise ValueError(f"{where}: {key} is {word!r}; expected letters, digits, '-', '_' and '.'")
    return word


def _names(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    """One name, or a list of them: the runs of a table are those of every algorithm on every task."""
    value = _get(table, key, object, where)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: {key} is {value!r}; expected a name, or a list of names")
    return names


_REQUIRED = object()


def _get(table: Mapping[str, Any], key: str, kind: type, where: str, default: Any = _REQUIRED) -> Any:
    if key not in table:
        if default is _REQUIRED:
            raise ValueError(f"{where} has no {key!r}")
        return default
    value = table[key]
    if kind is not object and type(value) is not kind:
        raise ValueError(f"{where}: {key} is {value!r}; expected {kind.__name__}")
    return value


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise _unknown(f"key of {where}:", key, known)


def _unknown(what: str, name: str, known: Iterable[str], remedy: str = "") -> ValueError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return ValueError(f"unknown {what} {name!r}; {hint}{remedy}")


def _folder() -> Any:
    return files("diffrl_bench") / "suites"
