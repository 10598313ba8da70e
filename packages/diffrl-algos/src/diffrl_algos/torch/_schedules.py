"""Learning rates."""

from __future__ import annotations

from .._configs import WindowConfig


def learning_rate(config: WindowConfig, start: float, iteration: int) -> float:
    """The rate of update ``iteration``, counted from 0: constant, or linear from ``start`` to ``lr_end``."""
    if config.lr_schedule == "constant":
        return start
    return start + (config.lr_end - start) * min(1.0, iteration / config.iterations)
