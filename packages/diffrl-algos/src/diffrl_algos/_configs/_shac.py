"""Hyper-parameters of SHAC."""

from __future__ import annotations

from dataclasses import dataclass

from ._window import CriticConfig, between_zero_and_one, finite


@dataclass(frozen=True, kw_only=True)
class SHACConfig(CriticConfig):
    """Short-Horizon Actor-Critic (Xu et al. 2022).

    The defaults are the paper's general setting (Table 5, with the networks of appendix A.4.3);
    ``load_preset`` gives its best setting for a task (Tables 1 and 4).
    """

    target_alpha: float = 0.995
    """Part of the target critic that stays at each update: theta' <- alpha theta' + (1 - alpha) theta."""
    logstd_init: float = -1.0
    """Initial log standard deviation of the actions before tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between_zero_and_one(self, "target_alpha")
        finite(self, "logstd_init")
