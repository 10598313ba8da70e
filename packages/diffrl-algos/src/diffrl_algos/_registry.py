"""Algorithms by name.

The package's own algorithms are the files of ``torch/algorithms``: a file's name is the algorithm's, and the first line
of its docstring is the summary. Both are read without importing the file, so listing algorithms imports no framework.
"""

from __future__ import annotations

import ast
import functools
import importlib
import typing
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from ._errors import UsageError, unknown

if TYPE_CHECKING:
    from ._algorithm import Algorithm

_GROUP = "diffrl.algorithms"


@dataclass(frozen=True, kw_only=True)
class AlgorithmEntry:
    """Where an algorithm is found."""

    name: str
    algorithm: str
    """``"module:Class"``; called with a configuration, it gives an ``Algorithm``."""
    config: str = ""
    """``"module:Class"`` of the configuration, a frozen dataclass; by default the type of ``Class.config``."""
    arrays: str = "torch"
    """Framework of the environments it takes: ``"torch"`` or ``"jax"``."""
    summary: str
    """One line for ``diffrl list algos``."""

    def config_class(self) -> type:
        if self.config:
            return cast("type", _load(self.config))
        return typing.get_type_hints(_load(self.algorithm))["config"]

    def build(self, config: Any) -> Algorithm:
        return _load(self.algorithm)(config)


_ENTRIES: dict[str, AlgorithmEntry] = {}


def register_algorithm(entry: AlgorithmEntry) -> None:
    """Make an algorithm known by name to ``load_preset``, ``get_algorithm`` and the ``diffrl`` command.

    A package does so once and for all with an entry point of group ``diffrl.algorithms`` that names an
    ``AlgorithmEntry``.

    Raises:
        UsageError: another algorithm has this name.
    """
    known = {**_own(), **_ENTRIES}
    if known.get(entry.name, entry) != entry:
        raise UsageError(f"an algorithm named {entry.name!r} exists already; choose another name")
    _ENTRIES[entry.name] = entry


def list_algorithms() -> list[AlgorithmEntry]:
    """Every known algorithm, sorted by name, those of installed packages included."""
    for point in entry_points(group=_GROUP):
        if point.name not in _ENTRIES:
            register_algorithm(point.load())
    known = {**_own(), **_ENTRIES}
    return [known[name] for name in sorted(known)]


def get_algorithm(name: str) -> AlgorithmEntry:
    """The algorithm of that name.

    Raises:
        UsageError: there is none; the nearest names are given.
    """
    found = _ENTRIES.get(name) or _own().get(name)
    if found is None:
        known = {entry.name: entry for entry in list_algorithms()}
        if name not in known:
            raise unknown("algorithm", name, known)
        found = known[name]
    return found


@functools.cache
def _own() -> dict[str, AlgorithmEntry]:
    """The package's own algorithms."""
    entries: dict[str, AlgorithmEntry] = {}
    for file in files("diffrl_algos").joinpath("torch", "algorithms").iterdir():
        name = file.name.removesuffix(".py")
        if file.name.endswith(".py") and not name.startswith("_"):
            doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            algorithm = f"diffrl_algos.torch.algorithms.{name}:ALGORITHM"
            entries[name] = AlgorithmEntry(name=name, algorithm=algorithm, summary=doc.partition("\n")[0])
    return entries


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
