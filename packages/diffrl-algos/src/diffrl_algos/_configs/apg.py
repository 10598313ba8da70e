"""Configuration of Analytic Policy Gradient."""

from __future__ import annotations

from dataclasses import dataclass

from .._config import GaussianConfig


@dataclass(frozen=True, kw_only=True)
class APGConfig(GaussianConfig):
    """Analytic Policy Gradient, also called backpropagation through time (BPTT).

    The defaults are those of Xing et al. 2024 (Table 2): windows that start where the last one ended. With ``restart``
    and ``horizon`` the length of an episode it is BPTT through whole episodes.
    """

    restart: bool = False
    """Start every window with new episodes instead of where the last one ended."""
