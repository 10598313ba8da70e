"""Modules of the user's own, which register tasks and algorithms."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from ._errors import UsageError


def import_module(name: str) -> None:
    """Import a module by name (the current folder counts) or a ``.py`` file by path.

    Raises:
        UsageError: it does not exist.
    """
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UsageError(f"--import {name}: no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        raise UsageError(f"--import {name}: no such module; give a module name or a .py file") from None
    finally:
        sys.path.pop(0)
