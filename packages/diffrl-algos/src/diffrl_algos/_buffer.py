"""The replay buffer of a run on disk: each row is written once, however many checkpoints there are.

Arrays of a state named ``replay.rows.NAME`` hold the last ``min(count, capacity)`` steps of every world, oldest first;
``count`` and ``capacity`` are the arrays ``replay.count`` and ``replay.capacity``. A checkpoint holds all other arrays.
The steps since the last checkpoint go to a file of their own, a *chunk*, named by the number of steps up to its end.
Chunks are written as checkpoints are, hashed and atomically, and are removed once the buffer no longer holds their
steps. So a run can be resumed from its newest checkpoints only; every checkpoint can be evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._checkpoint import (
    Manifest,
    checkpoint_name,
    checkpoint_names,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)
from ._errors import CheckpointError

_ROWS = "replay.rows."

Arrays = Mapping[str, np.ndarray[Any, Any]]


def split(arrays: Arrays) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    """The arrays that a checkpoint holds, and the rows of the buffer."""
    rows = {name: array for name, array in arrays.items() if name.startswith(_ROWS)}
    return {name: array for name, array in arrays.items() if name not in rows}, rows


def full_bytes(arrays: Arrays) -> int:
    """Bytes of the full buffer; 0 for a state without one."""
    _, rows = split(arrays)
    if not rows:
        return 0
    step = sum(int(np.prod(array.shape[1:])) * array.itemsize for array in rows.values())
    return int(arrays["replay.capacity"]) * step


def save_rows(folder: Path, arrays: Arrays, *, run: str, **metrics: Any) -> None:
    """Write the steps that no chunk in ``folder`` has yet; call it before the checkpoint that needs them."""
    _, rows = split(arrays)
    count = int(arrays["replay.count"]) if rows else 0
    if not count:
        return
    folder.mkdir(exist_ok=True)
    for name in checkpoint_names(folder):
        if int(name) >= count:  # the run was cut off and resumed from an earlier checkpoint
            remove_checkpoint(folder, name)
    ends = [int(name) for name in checkpoint_names(folder)]
    new = min(count - max(ends, default=0), len(next(iter(rows.values()))))
    if new:
        chunk = {name: array[-new:] for name, array in rows.items()}
        save_checkpoint(folder, chunk, run=run, **{**metrics, "iteration": count})


def drop_rows(folder: Path, arrays: Arrays) -> None:
    """Remove the chunks whose steps the buffer no longer holds; call it once the checkpoint is written."""
    if "replay.count" in arrays:
        oldest = int(arrays["replay.count"]) - int(arrays["replay.capacity"])
        for name in checkpoint_names(folder):
            if int(name) <= oldest:
                remove_checkpoint(folder, name)


def load_rows(folder: Path, arrays: Arrays, manifest: Manifest) -> dict[str, np.ndarray[Any, Any]]:
    """The rows that belong to the ``arrays`` of a checkpoint.

    Raises:
        CheckpointError: a chunk is missing or damaged.
    """
    count = int(arrays.get("replay.count", 0))
    if not count:
        return {}
    oldest = count - min(count, int(arrays["replay.capacity"]))
    chunks, reached = [], count
    while reached > oldest:
        name = checkpoint_name(reached)
        if name not in checkpoint_names(folder):
            raise CheckpointError(
                f"{folder} lacks steps of the replay buffer at iteration {manifest.iteration}; "
                "this checkpoint can be evaluated, but not resumed from: resume from the last one"
            )
        chunk, _ = load_checkpoint(folder, name, run=manifest.run)
        length = len(next(iter(chunk.values()), ()))
        if not length or any(not key.startswith(_ROWS) or len(array) != length for key, array in chunk.items()):
            raise CheckpointError(
                f"{folder / name}.safetensors holds no rows of a replay buffer: it is not from this run"
            )
        chunks.append(chunk)
        reached -= length
    if len({tuple(sorted(chunk)) for chunk in chunks}) > 1:
        raise CheckpointError(f"{folder}: its files hold different arrays: they are not from one run")
    return {name: np.concatenate([chunk[name] for chunk in reversed(chunks)])[oldest - reached :] for name in chunks[0]}
