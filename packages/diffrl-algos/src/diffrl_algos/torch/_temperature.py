"""The weight of entropy, which SAPO and SAC move until the policy has a target entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._configs.temperature import TemperatureConfig
from ._adam import Adam, Optimizer
from ._run_state import State


@dataclass(frozen=True)
class TemperatureState(State):
    """The state of an algorithm with a temperature."""

    log_temperature: Tensor
    """``[1]``."""
    temperature_adam: Adam


def first_temperature(config: TemperatureConfig, obs: Tensor) -> dict[str, Any]:
    """The fields of ``TemperatureState`` before the first update, on the device of ``obs``."""
    start = torch.full((1,), config.temperature_init).log().to(obs)
    return {"log_temperature": start, "temperature_adam": Adam.init(start)}


def adapted(
    config: TemperatureConfig, log_temperature: Tensor, adam: Adam, entropy: Tensor, target: float
) -> tuple[Tensor, Adam]:
    """The temperature after one step down ``temperature (entropy - target)``, for the policy's mean entropy.

    Haarnoja et al. 2018, Eq. 18; Xing et al. 2024, Eq. 21.
    """
    if not config.auto_temperature:
        return log_temperature, adam
    slope = log_temperature.exp() * (entropy - target)
    # No decay: the temperature has no natural size.
    optimizer = Optimizer(config.betas, config.max_grad_norm)
    return optimizer.step(log_temperature, adam, slope, config.temperature_lr)[:2]
