"""Configuration of IVW-H."""

from __future__ import annotations

from dataclasses import dataclass

from .per_step import PerStepConfig


@dataclass(frozen=True, kw_only=True)
class IVWHConfig(PerStepConfig):
    """Inverse-variance weighting of every control step (Onoda et al. 2026, arXiv:2604.18161, Part II)."""
