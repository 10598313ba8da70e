"""Rules for outliers among the gradients of single worlds, for torch and JAX (Gao et al. 2024, Figure 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradest

from ._configs.agpo import AGPOConfig

Array = Any
Rule = Callable[[Array], Array]
"""Changes gradients ``[N, na]`` of one step's actions, world by world."""


def outlier_rule(config: AGPOConfig, samples: int, where: Callable[..., Any]) -> Rule | None:
    """The rule that ``config.outliers`` names; None for none.

    A gradient that is not finite stays as it is: the gate of the actions blocks it and counts it.

    Args:
        config: the rule and its numbers.
        samples: steps times worlds, over which the objective is a mean. ``outlier_norm`` bounds the gradient of what
            follows one action of one world, which the mean divides by this number.
        where: ``where(condition, a, b)`` of the framework.
    """
    low, high = config.outlier_quantiles

    def max_norm(g: Array) -> Array:
        return where(
            gradest.finite_mask(g)[:, None], gradest.clip_max_norm(g, max_norm=config.outlier_norm / samples), g
        )

    def quantile(g: Array) -> Array:
        kept = gradest.quantile_mask(g, low=low, high=high) | ~gradest.finite_mask(g)
        return where(kept[:, None], g, 0.0)

    return {"none": None, "max_norm": max_norm, "quantile": quantile}[config.outliers]
