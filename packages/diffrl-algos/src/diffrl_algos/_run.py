"""Run folders: what is trained, and everything that came of it.

run.json         what was asked for, and on what it ran; never changed
metrics.jsonl    one line for each update; evaluations.jsonl one for each evaluation on the way
checkpoints/     safetensors and JSON, the last few and the best; in replay/ the rows of a replay buffer
divergences/     worlds that left the finite range, for diffsim_core.replay
summary.json     the evaluation, once the run is complete
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core.options import from_json

from ._buffer import drop_rows, full_bytes, load_rows, save_rows, split
from ._checkpoint import (
    Manifest,
    checkpoint_name,
    checkpoint_names,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
    sha256_of,
)
from ._errors import CheckpointError, RunError, UsageError, WriteError
from ._files import (
    dump_json,
    exclusive,
    is_part,
    plain,
    read_json,
    remove_parts,
    require_writable,
    write_atomic,
)
from ._spec import OPTIONAL, RunSpec
from ._surroundings import surroundings

_FORMAT = "diffrl-run-2"
_FIRST = "diffrl-run-1"
"""Format of runs whose descriptions had null in place of infinite numbers."""
_DESCRIPTION = "run.json"
_LOCK = ".lock"


@dataclass(frozen=True)
class Run:
    """A run folder on disk."""

    path: Path
    spec: RunSpec
    identity: str
    """SHA-256 of ``spec``; every checkpoint carries it."""

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def _buffer(self) -> Path:
        """Where the rows of a replay buffer are kept."""
        return self.checkpoints / "replay"

    @classmethod
    def create(cls, path: Path, spec: RunSpec, arrays: Mapping[str, np.ndarray]) -> Run:
        """Make a new run folder, with room for all the checkpoints of ``arrays`` it will hold at a time.

        What an earlier call left here that was cut off is taken over: at any moment of it, and, where the description
        is the same, until the first update is in the log.

        Raises:
            UsageError: ``path`` exists and holds anything else.
            RunError: it cannot be written, or there is not enough space; nothing is left behind. Or another process is
                at work there.
        """
        cls.require_free(path, spec)
        run = cls(path, spec, sha256_of(spec.to_json()))
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            with run.locked():
                run._describe(arrays)
        except (OSError, RunError) as error:
            for folder in made:
                with contextlib.suppress(OSError):  # it is not empty: somebody else uses it
                    folder.rmdir()
            if isinstance(error, RunError):
                raise
            raise RunError(f"cannot make {path}: {error.strerror or error}; choose another place with --out") from None
        return run

    @classmethod
    def require_free(cls, path: Path, spec: RunSpec) -> None:
        """Raise ``UsageError`` if ``create`` cannot make this run at ``path``, which holds anything else."""
        cls(path, spec, sha256_of(spec.to_json()))._require_unbegun()

    def _describe(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write what a run begins with, or nothing."""
        self._require_unbegun()
        new = not self.checkpoints.exists()
        try:
            size = sum(array.nbytes for array in split(arrays)[0].values())
            require_writable(self.path, (self.spec.keep_checkpoints + 2) * size + full_bytes(arrays))
            self.checkpoints.mkdir(exist_ok=True)
            self.prepare_resume(0)
            described = {"format": _FORMAT, **self.spec.to_json(), **surroundings()}
            write_atomic(self.path / _DESCRIPTION, dump_json(described))
        except BaseException:
            if new and not (self.path / _DESCRIPTION).exists():
                with contextlib.suppress(OSError):
                    self.checkpoints.rmdir()
                with contextlib.suppress(OSError):
                    (self.path / _LOCK).unlink()
            raise

    def _require_unbegun(self) -> None:
        """Raise ``UsageError`` unless the folder is missing or empty, or holds what a start leaves that was cut off."""
        path = self.path
        refusal = UsageError(f"{path} exists already and is not empty; choose another --out, or --resume {path}")
        if not path.exists():
            return
        if not path.is_dir():
            raise refusal
        names = {one.name for one in path.iterdir() if not is_part(one)}
        if _DESCRIPTION in names:
            try:
                same = Run.open(path).identity == self.identity
            except RunError:
                same = False
            if not same or self.has_checkpoint() or self.metrics() or "summary.json" in names:
                raise refusal
        elif names - {_LOCK, "checkpoints"} or any(not is_part(one) for one in self.checkpoints.glob("*")):
            raise refusal

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run folder.

        Raises:
            RunError: ``path`` is no run folder, or its ``run.json`` is damaged.
        """
        file = path / _DESCRIPTION
        if not file.is_file():
            raise RunError(f"{path} is not a run folder: it has no run.json")
        try:
            values = read_json(file)
            if (made := values.pop("format", None)) not in (_FORMAT, _FIRST):
                raise ValueError(f"is not of format {_FORMAT!r}")
            names = [field.name for field in dataclasses.fields(RunSpec)]
            described = {name: values[name] for name in names if name in values or name not in OPTIONAL}
            spec = RunSpec.from_json(described if made == _FORMAT else _whole(described))
            if made == _FIRST:
                described = from_json(described)  # whose hash is that of null, as it was written
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror or error}") from None
        except KeyError as error:
            raise RunError(f"{file} has no {error}: damaged or foreign") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{file}: {error}") from None
        # Of what was written: a field that a later version has besides, at its default, makes no other run of it.
        return cls(path, spec, sha256_of(described))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; the lock ends with the process, however that ends.

        Raises:
            RunError: another process holds it.
        """
        with exclusive(
            self.path / _LOCK,
            f"another process is training in {self.path}; wait until it ends or stop it, then --resume {self.path}",
        ):
            yield

    def is_better(self, score: float) -> bool:
        """Whether the score of an evaluation is finite and above that of the best checkpoint so far."""
        best = self._best()
        return math.isfinite(score) and (best is None or score > best["return_mean"])

    def save(self, arrays: Mapping[str, np.ndarray], metrics: Mapping[str, Any], evaluated: float | None = None) -> str:
        """Write a checkpoint, update which one is the best, and remove old ones.

        The best is that of the highest score of an evaluation (``evaluated``), or, in a run without evaluations, of the
        highest mean return in training.
        """
        figures = plain({key: metrics[key] for key in ("iteration", "env_steps", "wall_s", "return_mean")})
        try:
            save_rows(self._buffer, arrays, run=self.identity, **figures)
            name = save_checkpoint(self.checkpoints, split(arrays)[0], run=self.identity, **figures)
            drop_rows(self._buffer, arrays)
            best = self._best()
            by, score = ("training", figures["return_mean"])
            if self.spec.eval_every is not None:
                by, score = "evaluation", plain(evaluated)
            if score is not None and (best is None or score > best["return_mean"]):
                best = {"checkpoint": name, "return_mean": score, "by": by}
                write_atomic(self.checkpoints / "best.json", dump_json(best))
        except OSError as error:
            raise WriteError(
                f"cannot write a checkpoint in {self.checkpoints}: {error.strerror or error}; "
                f"earlier checkpoints are intact: make room, then --resume {self.path}"
            ) from None
        kept = {name, *checkpoint_names(self.checkpoints)[-self.spec.keep_checkpoints :]}
        for old in checkpoint_names(self.checkpoints):
            if old not in kept and (best is None or old != best["checkpoint"]):
                remove_checkpoint(self.checkpoints, old)
        return name

    def has_checkpoint(self) -> bool:
        """Whether anything was saved, damaged or not."""
        return bool(checkpoint_names(self.checkpoints))

    def last_iteration(self) -> int:
        """The iteration of the last checkpoint, damaged or not; 0 without one."""
        return max(map(int, checkpoint_names(self.checkpoints)), default=0)

    def load(self, which: str = "last", *, whole: bool = False) -> tuple[dict[str, np.ndarray[Any, Any]], Manifest]:
        """A checkpoint: ``"last"``, ``"best"``, an iteration or a name; ``whole`` with its replay buffer, if any.

        Raises:
            CheckpointError: there is none, or it is damaged; the message names one that is good.
        """
        names = checkpoint_names(self.checkpoints)
        if not names:
            raise CheckpointError(f"{self.checkpoints} holds no complete checkpoint")
        name = names[-1] if which == "last" else which
        if which == "best":
            best = self._best()
            if best is None:
                why = (
                    "no training episode had finished"
                    if self.spec.eval_every is None
                    else "no evaluation had taken place"
                )
                raise CheckpointError(f"{self.checkpoints} has no best checkpoint: {why}")
            name = best["checkpoint"]
        elif which.isascii() and which.isdigit():
            name = checkpoint_name(int(which))
        if name not in names:
            kept = ", ".join(str(int(one)) for one in names)
            raise CheckpointError(f"{self.checkpoints} has no checkpoint {which!r}; there are last, best, {kept}")
        try:
            return self._load(name, whole)
        except CheckpointError as error:
            raise CheckpointError(f"{error}. {self._way_out(name, names, whole)}") from None

    def _load(self, name: str, whole: bool) -> tuple[dict[str, np.ndarray[Any, Any]], Manifest]:
        arrays, manifest = load_checkpoint(self.checkpoints, name, run=self.identity)
        if whole:
            arrays |= load_rows(self._buffer, arrays, manifest)
        return arrays, manifest

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; one torn by a crash is left out."""
        return self._lines("metrics.jsonl")

    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of ``evaluations.jsonl``, likewise."""
        return self._lines("evaluations.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.path / name
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        found: list[dict[str, Any]] = []
        for line in lines:
            with contextlib.suppress(ValueError):
                values = json.loads(line)
                if line.endswith(b"\n") and isinstance(values, dict) and type(values.get("iteration")) is int:
                    found.append(values)
        return found

    def take_records(self, source: Run | None, iteration: int) -> None:
        """Begin with the metrics and evaluations of another run up to ``iteration``, where there is one."""
        if source is None:
            return
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            if lines := [json.dumps(line) + "\n" for line in source._lines(name) if line["iteration"] <= iteration]:
                write_atomic(self.path / name, "".join(lines).encode())

    def prepare_resume(self, iteration: int) -> None:
        """Leave the folder as it was when the checkpoint of ``iteration`` was written."""
        require_writable(self.path, 0)
        remove_parts(self.path)
        remove_parts(self.checkpoints)
        remove_parts(self._buffer)
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            if (self.path / name).exists():
                lines = [json.dumps(line) + "\n" for line in self._lines(name) if line["iteration"] <= iteration]
                write_atomic(self.path / name, "".join(lines).encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_atomic(self.path / "summary.json", dump_json(summary))

    def summary(self) -> dict[str, Any] | None:
        """The summary of a complete run, else None."""
        file = self.path / "summary.json"
        try:
            return read_json(file) if file.exists() else None
        except ValueError as error:
            raise RunError(f"{file} {error}; remove it to evaluate the run again") from None

    def _best(self) -> dict[str, Any] | None:
        try:
            best = read_json(self.checkpoints / "best.json")
            name, score = best["checkpoint"], best["return_mean"]
        except (OSError, ValueError, KeyError):
            return None
        good = name in checkpoint_names(self.checkpoints) and type(score) in (int, float)
        return best if good else None

    def _way_out(self, bad: str, names: list[str], whole: bool) -> str:
        for name in reversed(names):
            if name < bad:
                try:
                    self._load(name, whole)
                except CheckpointError:
                    continue
                return f"The newest good one before it is {name}: move {bad}.json away to go on from there"
        return "No earlier checkpoint is good"


def _whole(described: dict[str, Any]) -> dict[str, Any]:
    """A description of the first format; ``ValueError`` where it lost a number."""
    for name, value in described["task_options"].items():
        if _has_null(value):
            raise ValueError(
                f"task option {name} is null, as infinite numbers were written by an earlier version; put what it was "
                'in its place: {"$numberDouble": "Infinity"} or {"$numberDouble": "-Infinity"}'
            )
    lost = described["budget"] == {"seconds": None}  # nothing but an infinite one was ever written so
    return {**described, "budget": {"seconds": math.inf}} if lost else described


def _has_null(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, parts))
