"""Algorithms by name.

The package's own algorithms are the files of ``torch/algorithms``; those that JAX has too are in ``jax/algorithms``.
A file's name is the algorithm's, and the first line of its docstring is the summary. Both are read without importing
the file, so listing algorithms imports no framework.
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

from ._errors import UsageError, require, unknown

if TYPE_CHECKING:
    from ._algorithm import Algorithm

_GROUP = "diffrl.algorithms"
FRAMEWORKS = ("torch", "jax")
_NEEDED = {"jax": ("jax", "flax", "optax")}
"""Packages of an extra of this name, which algorithms in a framework need."""


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
        for package in _NEEDED.get(self.arrays, ()) if module.startswith(f"{__package__}.{self.arrays}.") else ():
            require(package, self.arrays)
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
    known = {**_own("torch"), **_ENTRIES}
    if known.get(entry.name, entry) != entry:
        raise UsageError(f"an algorithm named {entry.name!r} exists already; choose another name")
    _ENTRIES[entry.name] = entry


def list_algorithms() -> list[AlgorithmEntry]:
    """Every known algorithm, sorted by name, those of installed packages included."""
    for point in entry_points(group=_GROUP):
        if point.name not in _ENTRIES:
            register_algorithm(point.load())
    known = {**_own("torch"), **_ENTRIES}
    return [known[name] for name in sorted(known)]


def get_algorithm(name: str, framework: str | None = None) -> AlgorithmEntry:
    """The algorithm of that name.

    Args:
        name: see ``list_algorithms``.
        framework: ``"torch"`` or ``"jax"``; by default the one that it was written for, torch for this package's.

    Raises:
        UsageError: there is none, and the nearest names are given; or it has no form in the framework.
    """
    found = _ENTRIES.get(name) or _own("torch").get(name)
    if found is None:
        known = {entry.name: entry for entry in list_algorithms()}
        if name not in known:
            raise unknown_algorithm(name, known)
        found = known[name]
    if framework is None or framework == found.arrays:
        return found
    other = {} if name in _ENTRIES else _own(framework)
    if name not in other:
        those = ", ".join(_own(framework))
        raise UsageError(f"{name} is written for {found.arrays} alone; in {framework} there are {those}")
    return other[name]


def unknown_algorithm(name: str, known: Iterable[str]) -> UsageError:
    """An error for a name that no algorithm has."""
    return UsageError(f"{unknown('algorithm', name, known)} (an algorithm of your own needs --import FILE)")


@functools.cache
def _own(framework: str) -> dict[str, AlgorithmEntry]:
    """The package's own algorithms in a framework, sorted by name."""
    entries: dict[str, AlgorithmEntry] = {}
    folder = files("diffrl_algos").joinpath(framework, "algorithms")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = file.name.removesuffix(".py")
        if file.name.endswith(".py") and not name.startswith("_"):
            doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            algorithm = f"diffrl_algos.{framework}.algorithms.{name}:ALGORITHM"
            summary = doc.partition("\n")[0]
            entries[name] = AlgorithmEntry(name=name, algorithm=algorithm, arrays=framework, summary=summary)
    return entries
