"""Atomic files, and JSON that is always valid."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._errors import RunError

_MARGIN = 64 * 2**20
"""Bytes kept free in addition to the request, for logs and for other users of the disk."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a crash leaves the old file or the new one, never a part of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def is_part(path: Path) -> bool:
    """Whether a file is a temporary one of ``write_atomic``, which is gone unless that was killed."""
    return path.name.startswith(".") and path.name.endswith(".part")


def remove_parts(folder: Path) -> None:
    """Remove the temporary files of a killed ``write_atomic``."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def file_name(text: str) -> str:
    """``text`` as the name of one file on every system: ``gym:ALE/Pong-v5`` is none."""
    return re.sub(r"[^\w.-]", "-", text)


@contextlib.contextmanager
def exclusive(file: Path, refusal: str) -> Iterator[None]:
    """Hold the lock ``file`` for one process; the lock ends with the process, however that ends.

    Raises:
        RunError: another process holds it; ``refusal`` is the message.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def plain(value: Any) -> Any:
    """``value`` in JSON's types: tuples become lists, numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def dump_json(value: Any) -> bytes:
    """A JSON file: indented, keys in the order given."""
    return (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode()


def canonical_json(value: Any) -> bytes:
    """JSON with one spelling for equal values, as input of hashes."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read_json(path: Path, *, limit: int = 2**20) -> dict[str, Any]:
    """The JSON object in a file of at most ``limit`` bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not hold a JSON object.
    """
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is longer than {limit} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def require_writable(folder: Path, needed: int) -> None:
    """Check that ``folder`` can be written to and has room for ``needed`` bytes.

    Raises:
        RunError: no permission to write, or too little free space; the message has a remedy.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe.", suffix=".part"):
            pass
    except OSError as error:
        raise RunError(
            f"cannot write in {folder}: {error.strerror or error}; choose another place with --out"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise RunError(
            f"not enough disk space in {folder}: {free / 2**20:.0f} MiB free, this run needs "
            f"{(needed + _MARGIN) / 2**20:.0f} MiB; free some or choose another place with --out"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # Without this a rename may be lost with the power; not every system can open a folder.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
