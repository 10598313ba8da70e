"""Numbers of papers as data: ``references/PAPER.toml``, with the table or figure and how each number was read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_TABLE_KEYS = {"place", "about", "metric", "unit", "statistic", "spread", "read", "values"}
_STATEMENT_KEYS = {"place", "about", "value", "unit", "read"}
_PAPER_KEYS = {"name", "title", "authors", "venue"}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One number of a paper."""

    paper: str
    """Short name of the paper: ``GI-PPO``."""
    source: str
    """Authors, title and venue."""
    place: str
    """Table or figure: ``Table 1``."""
    about: str
    value: float
    unit: str
    read: str
    """How it was read: printed, from the text, or from files that the authors released."""
    metric: str = ""
    """Key of a record that it compares with; empty for a number of the text."""
    learner: str = ""
    """Algorithm, with its variant in brackets, as ``diffrl bench table`` names it; empty for a number of the text."""
    task: str = ""
    statistic: str = ""
    """Mean over how many seeds of what."""
    spread: float | None = None
    """Half the width of the interval that the paper gives."""
    spread_kind: str = ""


@cache
def all_references() -> tuple[Reference, ...]:
    """Every number of the papers that come with this package."""
    folder = files("diffrl_bench") / "references"
    named = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return tuple(one for file in named for one in parse_references(file.read_text(encoding="utf-8"), file.name))


def references_of(names: Sequence[str], where: str) -> tuple[Reference, ...]:
    """The numbers of ``"GI-PPO Table 1"``, or of one task in it, ``"SAPO Table 1: hand_flip"``.

    Args:
        names: tables and figures.
        where: named in errors.

    Raises:
        ValueError: there is no such table or figure.
    """
    known: dict[str, list[Reference]] = {}
    for one in all_references():
        known.setdefault(f"{one.paper} {one.place}", []).append(one)
        if one.task:
            known.setdefault(f"{one.paper} {one.place}: {one.task}", []).append(one)
    for name in names:
        if name not in known:
            places = ", ".join(place for place in known if ":" not in place)
            raise ValueError(f"{where} refers to {name!r}, of which there are no numbers; known: {places}")
    return tuple(one for name in names for one in known[name])


def parse_references(text: str, source: str) -> tuple[Reference, ...]:
    """References from TOML; ``source`` names it in errors.

    Raises:
        ValueError: it is not TOML, or a table lacks a key, has an unknown one or one of another type.
    """
    try:
        tables = tomllib.loads(text)
        paper = tables["paper"]
        _exactly(paper, _PAPER_KEYS, "paper")
        said = {"paper": paper["name"], "source": f"{paper['authors']}: {paper['title']}, {paper['venue']}"}
        found = [one for table in tables.get("table", []) for one in _table(table, said)]
        for statement in tables.get("statement", []):
            _exactly(statement, _STATEMENT_KEYS, "statement")
            found.append(Reference(**{**said, **statement, "value": _number(statement["value"])}))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"references {source} cannot be read: {type(error).__name__}, {error}") from None
    return tuple(found)


def _table(table: dict[str, Any], said: dict[str, str]) -> Iterator[Reference]:
    _exactly({"spread": "", **table}, _TABLE_KEYS, f"table {table.get('place')}")
    same = {**said, **{key: table[key] for key in ("place", "about", "metric", "unit", "statistic", "read")}}
    for task, learners in table["values"].items():
        for learner, cell in learners.items():
            value, spread = cell if isinstance(cell, list) else (cell, None)
            yield Reference(
                **same,
                task=task,
                learner=learner,
                value=_number(value),
                spread=None if spread is None else _number(spread),
                spread_kind=table.get("spread", "") if spread is not None else "",
            )


def _exactly(table: dict[str, Any], keys: set[str], what: str) -> None:
    if table.keys() != keys:
        raise ValueError(f"{what} must have the keys {', '.join(sorted(keys))}, not {', '.join(sorted(table))}")


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
