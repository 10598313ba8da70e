"""How closely a task must follow its recording to count as agreeing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BOUNDS = {
    "position_error_first": 1e-3,
    "position_error_last": 1e-2,
    "reward_error": 1e-2,
    "gradient_cosine": 0.995,
}
"""Largest errors after one control step and after the last, of the summed reward, and the smallest cosine. For scale:
caching the mass matrix moves that simulator's own Ant by 5e-3 and its gradient to a cosine of 0.9994."""


def agrees(row: Mapping[str, Any]) -> bool:
    """Whether a row of ``reference.run`` is within the bounds; one that is not a number is not."""
    errors = ("position_error_first", "position_error_last", "reward_error")
    return all(row[key] <= BOUNDS[key] for key in errors) and row["gradient_cosine"] >= BOUNDS["gradient_cosine"]
