"""The replay buffer of a run on disk: each row once, however many checkpoints there are.

Arrays of a state that are called ``replay.rows.NAME`` hold the last ``min(count, capacity)`` steps of every world,
oldest first, where ``replay.count`` and ``replay.capacity`` are arrays beside them. A checkpoint holds the other
arrays. The steps since the checkpoint before it go to a piece of their own, named by the number of steps up to its end.
Pieces are files like checkpoints, hashed and either there in full or not at all, and are removed once the buffer has
moved past them. So only the newest checkpoints can be gone on from; any can be evaluated.
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
    """What a checkpoint holds, and the rows of the buffer."""
    rows = {name: array for name, array in arrays.items() if name.startswith(_ROWS)}
    return {name: array for name, array in arrays.items() if name not in rows}, rows


def full_bytes(arrays: Arrays) -> int:
    """Bytes of the buffer once it is full; 0 without one."""
    _, rows = split(arrays)
    if not rows:
        return 0
    step = sum(int(np.prod(array.shape[1:])) * array.itemsize for array in rows.values())
    return int(arrays["replay.capacity"]) * step


def save_rows(folder: Path, arrays: Arrays, *, run: str, **figures: Any) -> None:
    """Write the steps that no piece in ``folder`` has yet; call it before the checkpoint that needs them."""
    _, rows = split(arrays)
    count = int(arrays["replay.count"]) if rows else 0
    if not count:
        return
    folder.mkdir(exist_ok=True)
    for name in checkpoint_names(folder):
        if int(name) >= count:  # the run was cut off, and goes on from an earlier checkpoint
            remove_checkpoint(folder, name)
    ends = [int(name) for name in checkpoint_names(folder)]
    new = min(count - max(ends, default=0), len(next(iter(rows.values()))))
    if new:
        piece = {name: array[-new:] for name, array in rows.items()}
        save_checkpoint(folder, piece, run=run, **{**figures, "iteration": count})


def drop_rows(folder: Path, arrays: Arrays) -> None:
    """Remove the pieces that the buffer has moved past; call it once the checkpoint is written."""
    if "replay.count" in arrays:
        oldest = int(arrays["replay.count"]) - int(arrays["replay.capacity"])
        for name in checkpoint_names(folder):
            if int(name) <= oldest:
                remove_checkpoint(folder, name)


def load_rows(folder: Path, arrays: Arrays, manifest: Manifest) -> dict[str, np.ndarray[Any, Any]]:
    """The rows that belong to the ``arrays`` of a checkpoint.

    Raises:
        CheckpointError: a piece is missing or damaged.
    """
    count = int(arrays.get("replay.count", 0))
    if not count:
        return {}
    oldest = count - min(count, int(arrays["replay.capacity"]))
    pieces, reached = [], count
    while reached > oldest:
        name = checkpoint_name(reached)
        if name not in checkpoint_names(folder):
            raise CheckpointError(
                f"{folder} has not all steps that the buffer of iteration {manifest.iteration} held: "
                "that checkpoint can be evaluated, not gone on from"
            )
        piece, _ = load_checkpoint(folder, name, run=manifest.run)
        length = len(next(iter(piece.values()), ()))
        if not length or any(not key.startswith(_ROWS) or len(array) != length for key, array in piece.items()):
            raise CheckpointError(f"{folder / name}.safetensors holds no rows of a replay buffer: foreign")
        pieces.append(piece)
        reached -= length
    if len({tuple(sorted(piece)) for piece in pieces}) > 1:
        raise CheckpointError(f"{folder}: its pieces hold different arrays: foreign")
    return {name: np.concatenate([piece[name] for piece in reversed(pieces)])[oldest - reached :] for name in pieces[0]}
