"""Fields of algorithms that weigh entropy."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim_core.options import NotNegative, Positive

from .._config import SpreadConfig


@dataclass(frozen=True, kw_only=True)
class TemperatureConfig(SpreadConfig):
    """Fields of the temperature, with the values of Xing et al. 2024 (Table 2) for their defaults."""

    target_entropy: NotNegative = 0.5
    """The target entropy is minus this for each action [nat]."""
    temperature_init: Positive = 1.0
    """Weight of entropy at the first update."""
    auto_temperature: bool = True
    """Move the temperature until the entropy is the target entropy."""
    temperature_lr: Positive = 5e-3
    """Learning rate of the log temperature, constant."""
