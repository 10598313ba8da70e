"""Figures: what a measurement gives, as a flat list of numbers, each with its subject, quantity and unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ._record import is_number

FIGURE_KEYS = ("subject", "quantity", "value", "low", "high", "unit", "by")
SUBJECT_KEYS = ("subject", "version", "settings", "missing")


class Findings(NamedTuple):
    """What a report says."""

    figures: list[dict[str, Any]]
    """See ``figure_of``."""
    subjects: list[dict[str, Any]]
    """See ``subject_of``; what was asked for and could not be measured is among them."""


def figure_of(
    subject: str,
    quantity: str,
    value: float,
    unit: str,
    *,
    low: float | None = None,
    high: float | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """One number.

    Args:
        subject: what it is of: a simulator, an estimator, a number of worlds.
        quantity: what was measured of it.
        value: the number.
        unit: its unit; empty for a ratio.
        low: lower end of what ``by`` names.
        high: upper end.
        by: what lies between ``low`` and ``high``: ``range of 5 repeats``, ``95 % interval of 5 seeds``.
    """
    ends = {"low": low, "high": high, "unit": unit, "by": by}
    return {"subject": subject, "quantity": quantity, "value": value, **ends}


def subject_of(
    name: str, *, version: str | None = None, settings: str = "", missing: str | None = None
) -> dict[str, Any]:
    """What figures are of.

    Args:
        name: as the figures have it.
        version: of the package that it comes from; None for ours, whose versions every record has.
        settings: how it was run, in words: steps, precision, threads, worlds.
        missing: why there are no figures of it, and what to do; None if there are.
    """
    return {"subject": name, "version": version, "settings": settings, "missing": missing}


def problems_of_figure(figure: Mapping[str, Any]) -> list[str]:
    """What is wrong with a figure of a record, in words."""
    found = _keys(figure, FIGURE_KEYS)
    if found:
        return found
    found = [f"has the {key} {figure[key]!r}; expected a text" for key in ("subject", "quantity") if not figure[key]]
    found += [
        f"has the {key} {figure[key]!r}; expected a text"
        for key in ("subject", "quantity", "unit")
        if not isinstance(figure[key], str)
    ]
    found += [] if is_number(figure["value"]) else [f"has the value {figure['value']!r}; expected a finite number"]
    ends = [figure["low"], figure["high"]]
    if ends != [None, None]:
        if not all(map(is_number, ends)):
            return [*found, f"has the ends {ends}; expected two finite numbers, or null for both"]
        if ends[0] > ends[1]:
            found.append(f"has a low of {ends[0]}, above its high of {ends[1]}")
        if not isinstance(figure["by"], str):
            found.append("has a low and a high, and 'by' does not say what they are")
    return found


def problems_of_subject(subject: Mapping[str, Any]) -> list[str]:
    """What is wrong with a subject of a record, in words."""
    found = _keys(subject, SUBJECT_KEYS)
    if found:
        return found
    words = [key for key in ("subject", "settings") if not isinstance(subject[key], str)]
    words += [key for key in ("version", "missing") if not isinstance(subject[key], str | None)]
    return [f"has the {key} {subject[key]!r}; expected a text" for key in words]


def _keys(found: Mapping[str, Any], expected: tuple[str, ...]) -> list[str]:
    lacks = [f"lacks {key!r}" for key in expected if key not in found]
    return lacks + [f"has the unknown key {key!r}" for key in found if key not in expected]
