"""Bounds on the errors with which a task agrees with its recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BOUNDS = {
    "position_error_first": 1e-3,
    "position_error_last": 1e-2,
    "reward_error": 1e-2,
    "gradient_cosine": 0.995,
}
"""Largest errors after one control step, after the last one and of the summed reward, and the smallest cosine. For
comparison: caching the mass matrix changes that simulator's own Ant by 5e-3, and its gradient to a cosine of 0.9994."""


def agrees(row: Mapping[str, Any]) -> bool:
    """Whether a row of ``reference.run`` is within the bounds; a NaN is not."""
    errors = ("position_error_first", "position_error_last", "reward_error")
    return all(row[key] <= BOUNDS[key] for key in errors) and row["gradient_cosine"] >= BOUNDS["gradient_cosine"]
