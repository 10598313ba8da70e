"""What needs torch itself, loaded only once a torch tensor has been handed in."""

from __future__ import annotations

from typing import Any

import torch
from array_api_compat import array_namespace
from torch import Tensor

from ._gate import bound


class Gate(torch.autograd.Function):
    """See ``gate_gradient``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, keep: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return torch.where(keep, grad_outputs[0], 0.0), None


class Bound(torch.autograd.Function):
    """See ``gate_norm``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, max_norm: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.max_norm = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (g,) = grad_outputs
        return bound(array_namespace(g), g, ctx.max_norm), None
