"""Entries by name: registries of what an engine is compiled with, such as joints, to which a user may add."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from diffsim_core._nearest import unknown as unknown


class Entry(Protocol):
    """What the engine's C++ needs to know of an entry: its name, and the header that defines its struct."""

    @property
    def name(self) -> str: ...
    @property
    def header(self) -> Path: ...


E = TypeVar("E", bound=Entry)


class Registry(Generic[E]):
    """Entries by name and by number, which is their place in the order of registration.

    Args:
        what: what an entry is called in messages.
        built_in: the entries that every module is compiled with.
    """

    def __init__(self, what: str, built_in: Sequence[E]) -> None:
        self.what = what
        self.built_in = tuple(built_in)
        self._entries = {entry.name: entry for entry in built_in}

    def register(self, entry: E) -> int:
        """Add an entry and return its number; an equal one may be added again.

        Raises:
            ValueError: if the name is taken by another entry, or is no identifier, or the header does not exist.
        """
        if not entry.name.isidentifier():
            raise ValueError(f"{self.what} {entry.name!r}: the name must be an identifier, as it names its C++ struct")
        if not entry.header.is_file():
            raise ValueError(f"{self.what} {entry.name!r}: its header {str(entry.header)!r} does not exist")
        if (known := self._entries.setdefault(entry.name, entry)) != entry:
            raise ValueError(f"{self.what} {entry.name!r} is already registered, as {known!r}; choose another name")
        return self.index(entry.name)

    def index(self, name: str) -> int:
        """Number of an entry.

        Raises:
            ValueError: for an unknown name, with the nearest known ones.
        """
        return list(self._entries).index(self[name].name)

    def at(self, number: int) -> E:
        """The entry of that number.

        Raises:
            ValueError: for a number that no entry has.
        """
        entries = list(self._entries.values())
        if not 0 <= number < len(entries):
            known = ", ".join(f"{i} {name}" for i, name in enumerate(self._entries))
            raise ValueError(f"unknown {self.what} number {number}. Known: {known}")
        return entries[number]

    def __getitem__(self, name: str) -> E:
        if name not in self._entries:
            raise ValueError(unknown(self.what, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def struct_name(name: str) -> str:
    """The C++ struct of an entry: ``hunt_crossley`` is ``HuntCrossley``."""
    return "".join(part.capitalize() for part in name.split("_"))


def cases(entries: Sequence[Entry], *fields: str) -> str:
    """The value of an X-macro over entries: ``X(0, Slide, 1, __VA_ARGS__)`` with the field ``nq``, and so on."""
    rows = (
        ", ".join([str(i), struct_name(entry.name), *(str(getattr(entry, field)) for field in fields)])
        for i, entry in enumerate(entries)
    )
    return " ".join(f"X({row}, __VA_ARGS__)" for row in rows)


def include(entry: Entry, source: Path) -> str:
    """What to include for an entry: its header's path, which is relative if it is in ``source``, the engine's own."""
    inside = entry.header.is_relative_to(source)
    return entry.header.relative_to(source).as_posix() if inside else entry.header.resolve().as_posix()


def digest(entry: Entry) -> str:
    """Tells apart what is compiled for entries that share a name."""
    return f"{entry.name}_{hashlib.sha256(str(entry.header.resolve()).encode()).hexdigest()[:8]}"
