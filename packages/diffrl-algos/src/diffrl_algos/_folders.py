"""Names of new run folders, which no other run takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from ._errors import RunError
from ._files import file_name
from ._spec import RunSpec


def default_path(spec: RunSpec) -> Path:
    """``runs/<algorithm>-<task>-s<seed>-<time>`` in the current folder."""
    return Path("runs") / file_name(f"{spec.algorithm}-{spec.task}-s{spec.seed}-{time.strftime('%Y%m%d-%H%M%S')}")


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[Path]:
    """A new folder of that name, or with ``-2``, ``-3`` ... behind it where others have taken it.

    It is removed again if it stays empty.
    """
    made = not path.parent.exists()
    for name in (path.name, *(f"{path.name}-{k}" for k in range(2, 10_000))):
        path = path.with_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # taken; or its parent was removed just now
                path.mkdir()
                break
        except OSError as error:
            raise RunError(f"cannot make {path}: {error.strerror or error}; choose another place with --out") from None
    else:
        raise RunError(f"{path} and all names before it are taken; choose another place with --out")
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            path.rmdir()
            if made:
                path.parent.rmdir()
