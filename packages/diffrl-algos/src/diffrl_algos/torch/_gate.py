"""Where gradients leave the worlds for the policy: one world whose gradient explodes costs the update one world."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LARGEST = 1e10
"""Gradients by an action beyond this are lost. float32 ends at 3e38; the norm over a policy's parameters, which squares
sums over thousands of steps, soon after 1e13."""


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, action: Tensor, lost: list[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.lost = lost
        return action.view_as(action)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (g,) = grad_outputs
        # Not greater than it, and not NaN.
        passes = (g.abs() < LARGEST).all(-1, keepdim=True)
        ctx.lost.append(~passes)
        return torch.where(passes, g, 0.0), None


class Gate:
    """Lets gradients by actions ``[N, na]`` pass, world by world, where they are finite.

    All that a window teaches a policy goes through its actions. Backwards through stiff contacts a world's gradient may
    grow until it overflows, while its states stay finite; summed over worlds, it would take all others with it. Here
    such a world teaches nothing by this action, nor by those before it whose gradient overflows too. Gradients that
    pass keep their bits.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._lost: list[Tensor] = []

    def __call__(self, action: Tensor) -> Tensor:
        """The same actions."""
        self._steps += 1
        return _Pass.apply(action, self._lost) if action.requires_grad else action

    def lost(self, like: Tensor) -> Tensor:
        """Part of all actions whose gradient did not pass, in the backward pass so far; a scalar like ``like``."""
        if not self._lost:
            return torch.zeros((), dtype=like.dtype, device=like.device)
        lost = torch.stack(self._lost)
        return lost.sum().to(like.dtype) / (self._steps * lost.shape[1])
