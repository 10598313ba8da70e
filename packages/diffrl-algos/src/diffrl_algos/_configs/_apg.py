"""Hyper-parameters of APG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import WindowConfig, finite


@dataclass(frozen=True, kw_only=True)
class APGConfig(WindowConfig):
    """Analytic Policy Gradient, also called backpropagation through time (BPTT).

    The defaults are those of Xing et al. 2024 (Table 2): windows that go on where the last one ended. With ``restart``
    and ``horizon`` the length of an episode it is BPTT through whole episodes.
    """

    restart: bool = False
    """Begin every window with new episodes instead of where the last one ended."""
    activation: Literal["elu", "silu"] = "elu"
    """After each hidden layer."""
    logstd_init: float = -1.0
    """Initial log standard deviation of the actions before tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        finite(self, "logstd_init")
