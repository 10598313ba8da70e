"""``gate``: blocks the gradients of single worlds where they explode, so that the others still count."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LARGEST = 1e10
"""Gradients with respect to an action are blocked from this size on. float32 ends at 3e38; the norm over a policy's
parameters, which squares sums over thousands of steps, overflows soon after 1e13."""


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, action: Tensor, lost: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return action.view_as(action)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (g,) = grad_outputs
        # A comparison with NaN is false, so NaN is blocked too.
        passes = (g.abs() < LARGEST).all(-1, keepdim=True)
        return torch.where(passes, g, 0.0), (~passes[:, 0]).to(g.dtype)


def gate(action: Tensor, lost: Tensor) -> Tensor:
    """The same actions ``[N, na]``, whose gradients pass world by world where they are finite.

    Everything that a window teaches a policy goes through its actions. Backwards through stiff contacts, the gradient
    of one world may grow until it overflows, although its states stay finite; summed over worlds, it would spoil all
    others. Here such a world contributes nothing through this action. Gradients that pass keep their bits.

    Args:
        action: actions of one step.
        lost: zeros ``[N]`` that require a gradient. Their "gradient" is 1 for each world that was blocked, so that a
            backward pass counts them without a side effect.
    """
    return _Gate.apply(action, lost) if action.requires_grad else action
