"""Modules of the user's own, which register tasks and algorithms; those of a run are in its ``run.json``."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._errors import RunError, UsageError
from ._files import read_json
from ._folders import seed_folders

_imported: dict[str, dict[str, Any]] = {}
"""What this process imported by name, as ``run.json`` records it. It is as global as the registries it fills."""


def import_module(name: str) -> None:
    """Import a module by name (the current folder counts) or a ``.py`` file by path (so does its own folder).

    Raises:
        UsageError: it does not exist, or imports what cannot be imported; the message has the file and the line.
    """
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UsageError(f"--import {name}: no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        with _folder_on_path(path.resolve().parent):
            try:
                spec.loader.exec_module(module)
            except ImportError as error:
                sys.modules.pop(path.stem, None)
                raise _not_importable(name, error) from error
        _imported[name] = {"import": str(path.resolve()), "sha256": _sha256(path)}
        return
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(name)
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or error.name not in (name, name.partition(".")[0]):
            raise _not_importable(name, error) from error
        raise UsageError(f"--import {name}: no such module; give a module name or a .py file") from None
    finally:
        sys.path.pop(0)
    _imported[name] = {"import": name}


@contextlib.contextmanager
def _folder_on_path(folder: Path) -> Iterator[None]:
    """Modules next to a file are found while it is imported, as where Python runs it; they shadow no others."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        # the one that was put there: a folder that was on the path before stays
        for k in range(len(sys.path) - 1, -1, -1):
            if sys.path[k] == str(folder):
                del sys.path[k]
                break


def _not_importable(name: str, error: ImportError) -> UsageError:
    from diffsim_core.check import raised

    return UsageError(
        f"--import {name}: {raised(error)}; files of your own are found in the folder of {name}"
        f"{'' if name.endswith('.py') else ' or the current one'}, other modules must be installed"
    )


def imported() -> list[dict[str, Any]]:
    """What ``import_module`` imported in this process: names of modules, and files with their SHA-256."""
    return list(_imported.values())


def recorded(path: Path) -> list[dict[str, Any]]:
    """What the run in ``path`` was started with; none where there is no run, or its description is damaged."""
    try:
        found = read_json(path / "run.json").get("imports", [])
    except (OSError, ValueError):
        return []
    rows = found if isinstance(found, list) else []
    return [one for one in rows if isinstance(one, dict) and isinstance(one.get("import"), str)]


def import_for_run(
    path: Path, given: Sequence[str], trusted: bool, ask: Callable[[str], bool], say: Callable[[str], None]
) -> list[str]:
    """Import what a run needs: what is ``given``, or else what it was started with, if somebody agrees to that.

    Args:
        path: run folder.
        given: modules in place of those of the run.
        trusted: whether the run's own may be imported without asking.
        ask: asks somebody; False also where nobody can be asked.
        say: tells somebody that a file has changed.

    Returns:
        The modules that were imported.

    Raises:
        UsageError: a module does not exist.
        RunError: the run cannot be used without its modules, and nobody agreed to import them.
    """
    if given:
        for name in given:
            import_module(name)
        return list(given)
    record = recorded(path)
    names = [str(one["import"]) for one in record]
    if not names or not (trusted or _needed(path)):
        return []
    listed = ", ".join(names)
    if not (trusted or ask(f"{path} was started with --import {listed}. Import it? That runs its code.")):
        raise RunError(
            f"{path} was started with --import {listed}, whose task or algorithm it needs; import it with "
            "--trust-imports, or give --import FILE"
        )
    for one in record:
        file = Path(one["import"])
        if file.suffix == ".py":
            if not file.is_file():
                raise RunError(
                    f"{file}, which {path} was started with, does not exist; give its new place: --import FILE"
                )
            if one.get("sha256") != _sha256(file):
                say(f"{file} has changed since {path} was started")
        import_module(one["import"])
    return names


def way_on(path: Path, imports: Iterable[str]) -> str:
    """What may help where a run failed without its imports; empty where there are none, or they were used."""
    names = [str(one["import"]) for one in recorded(path)]
    return "" if list(imports) or not names else f"it was started with --import {', '.join(names)}: try --trust-imports"


def resume_command(path: Path) -> str:
    """What goes on with a run, or with those of all seeds in a folder, to be pasted into a shell."""
    trust = " --trust-imports" if any(map(recorded, seed_folders(path) or [path])) else ""
    return f"diffrl train --resume {shlex.quote(str(path))}{trust}"


def _needed(path: Path) -> bool:
    """Whether the task or the algorithm of a run is known only to its imports."""
    import diffsim_core

    from ._registry import list_algorithms

    try:
        values: Mapping[str, Any] = read_json(path / "run.json")
    except (OSError, ValueError):
        return False
    known = {entry.name for entry in list_algorithms()}
    return values.get("algorithm") not in known or not diffsim_core.is_task(str(values.get("task")))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
