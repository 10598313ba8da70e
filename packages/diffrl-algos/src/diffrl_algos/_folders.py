"""Names of run folders: new ones, which no other run takes, and those of several seeds."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._errors import RunError
from ._files import file_name
from ._spec import RunSpec


def default_path(spec: RunSpec, *, seeds: bool = False) -> Path:
    """``runs/<algorithm>-<task>-s<seed>-<time>`` in the current folder; of several ``seeds``, ``...-seeds-<time>``."""
    which = "seeds" if seeds else f"s{spec.seed}"
    return Path("runs") / file_name(f"{spec.algorithm}-{spec.task}-{which}-{time.strftime('%Y%m%d-%H%M%S')}")


def of_seed(path: Path, seed: int) -> Path:
    """The run folder of a seed in the folder of several."""
    return path / f"s{seed}"


def seed_folders(path: Path) -> list[Path]:
    """The run folders of all seeds in ``path``, in their order; none if that is a run folder itself."""
    if (path / "run.json").exists():
        return []
    found = [file.parent for file in path.glob("s*/run.json") if re.fullmatch(r"s\d+", file.parent.name)]
    return sorted(found, key=lambda folder: int(folder.name[1:]))


def together_at(paths: Sequence[Path]) -> Path:
    """What ``--resume`` takes to go on with the runs in ``paths``: their folder, or of a single one its own."""
    return paths[0] if len(paths) == 1 else paths[0].parent


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
