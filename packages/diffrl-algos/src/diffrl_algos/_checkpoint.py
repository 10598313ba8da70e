"""Checkpoints: a safetensors file and a JSON manifest, trusted only when both agree.

The manifest is written last and carries the hashes of the tensors and of itself, so a checkpoint is
there in full or not at all, and any change of either file is noticed. Loading reads numbers and nothing
else; nothing in a checkpoint is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ._errors import CheckpointError
from ._files import canonical_json, dump_json, read_json, write_atomic

_FORMAT = "diffrl-checkpoint-1"
_NAME = re.compile(r"\d{8}")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself."""

    run: str
    """SHA-256 of the run's description: a checkpoint belongs to one run."""
    iteration: int
    env_steps: int
    wall_s: float
    """Training time up to here [s]."""
    return_mean: float | None
    """Mean return of the last finished training episodes."""
    tensors_sha256: str
    tensors_bytes: int


def checkpoint_name(iteration: int) -> str:
    """Stem of the two files: eight digits, so that names sort by iteration."""
    return f"{iteration:08d}"


def checkpoint_names(folder: Path) -> list[str]:
    """Stems of the checkpoints in a folder that have a manifest, oldest first."""
    return sorted(path.stem for path in folder.glob("*.json") if _NAME.fullmatch(path.stem))


def sha256_of(value: Any) -> str:
    """SHA-256 of a JSON value, the same for every spelling of it."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def save_checkpoint(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    run: str,
    iteration: int,
    env_steps: int,
    wall_s: float,
    return_mean: float | None,
) -> str:
    """Write a checkpoint and return its name. Equal arrays give equal bytes of the tensors file."""
    name = checkpoint_name(iteration)
    ordered = {key: np.ascontiguousarray(arrays[key]).reshape(arrays[key].shape) for key in sorted(arrays)}
    data = safetensors.numpy.save(ordered)
    manifest = Manifest(run, iteration, env_steps, wall_s, return_mean, hashlib.sha256(data).hexdigest(), len(data))
    body = {"format": _FORMAT, **asdict(manifest)}
    # A manifest of this name would vouch for the wrong tensors between the two writes.
    (folder / f"{name}.json").unlink(missing_ok=True)
    write_atomic(folder / f"{name}.safetensors", data)
    write_atomic(folder / f"{name}.json", dump_json({**body, "sha256": sha256_of(body)}))
    return name


def remove_checkpoint(folder: Path, name: str) -> None:
    """Remove a checkpoint, the manifest first."""
    (folder / f"{name}.json").unlink(missing_ok=True)
    (folder / f"{name}.safetensors").unlink(missing_ok=True)


def load_checkpoint(folder: Path, name: str, *, run: str) -> tuple[dict[str, np.ndarray[Any, Any]], Manifest]:
    """The arrays of a checkpoint, after everything that can be checked has been.

    Raises:
        CheckpointError: a file is missing, truncated, changed or of another run; the message names it.
    """
    manifest = _load_manifest(folder / f"{name}.json")
    path = folder / f"{name}.safetensors"
    if manifest.run != run:
        raise CheckpointError(f"{folder / name}.json belongs to another run, or this run's run.json was changed")
    if checkpoint_name(manifest.iteration) != name:
        raise CheckpointError(f"{folder / name}.json is the manifest of iteration {manifest.iteration}: it was renamed")
    try:
        size = path.stat().st_size
        if size != manifest.tensors_bytes:
            raise CheckpointError(f"{path} has {size} bytes; its manifest says {manifest.tensors_bytes}: damaged")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != manifest.tensors_sha256:
        raise CheckpointError(f"{path} does not have the contents its manifest names (SHA-256): damaged or foreign")
    try:
        return safetensors.numpy.load(data), manifest
    except Exception as error:  # the parser of a file that somebody else made may raise anything
        raise CheckpointError(f"{path} is not a safetensors file of plain arrays: {error}") from None


def _load_manifest(path: Path) -> Manifest:
    try:
        values = read_json(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} {error}: damaged or foreign") from None
    if values.pop("format", None) != _FORMAT:
        raise CheckpointError(f"{path} is not a manifest of format {_FORMAT!r}: foreign, or of another version")
    stated = values.pop("sha256", None)
    kinds: dict[str, tuple[type, ...]] = {
        "run": (str,),
        "iteration": (int,),
        "env_steps": (int,),
        "wall_s": (float, int),
        "return_mean": (float, int, type(None)),
        "tensors_sha256": (str,),
        "tensors_bytes": (int,),
    }
    if values.keys() != kinds.keys() or any(type(values[key]) not in kind for key, kind in kinds.items()):
        raise CheckpointError(f"{path} does not have the fields of a manifest: damaged or foreign")
    if sha256_of({"format": _FORMAT, **values}) != stated:
        raise CheckpointError(f"{path} was changed after it was written (SHA-256): damaged")
    return Manifest(**values)
