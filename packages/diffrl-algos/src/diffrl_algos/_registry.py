"""Algorithms by name.

The package's own algorithms are the files of ``torch/algorithms``: a file's name is the algorithm's, and the first line
of its docstring is the summary. Both are read without importing the file, so listing algorithms imports no framework.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any

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
        """The class of the configuration.

        Raises:
            UsageError: a class does not exist, or none is known for the configuration.
        """
        if self.config:
            found = self._load(self.config)
        else:
            found = typing.get_type_hints(self._load(self.algorithm)).get("config")
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise UsageError(
                f"algorithm {self.name!r}: the class of its configuration is {found}, which is no dataclass; annotate "
                f"the field config of {self.algorithm}, or name the class in the entry's config"
            )
        return found

    def build(self, config: Any) -> Algorithm:
        """The algorithm with a configuration."""
        return self._load(self.algorithm)(config)

    def _load(self, path: str) -> Any:
        module, _, attribute = path.partition(":")
        found = importlib.import_module(module)
        if not hasattr(found, attribute):
            raise UsageError(f"algorithm {self.name!r}: {path!r} does not exist; the entry needs 'module:Class'")
        return getattr(found, attribute)


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
            raise unknown_algorithm(name, known)
        found = known[name]
    return found


def unknown_algorithm(name: str, known: Iterable[str]) -> UsageError:
    """An error for a name that no algorithm has."""
    return UsageError(f"{unknown('algorithm', name, known)} (an algorithm of your own needs --import FILE)")


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
