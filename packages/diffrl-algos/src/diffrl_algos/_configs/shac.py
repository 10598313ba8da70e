"""Configuration of Short-Horizon Actor-Critic."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim_core.options import Fraction

from .._config import CriticConfig, GaussianConfig, GraphConfig


@dataclass(frozen=True, kw_only=True)
class SHACConfig(GaussianConfig, CriticConfig, GraphConfig):
    """Short-Horizon Actor-Critic (Xu et al. 2022).

    The defaults are the paper's general setting (Table 5, with the networks of appendix A.4.3);
    ``load_preset`` gives its best setting for a task (Tables 1 and 4).
    """

    target_alpha: Fraction = 0.995
    """Share of the target critic kept at each update: theta' <- alpha theta' + (1 - alpha) theta."""
