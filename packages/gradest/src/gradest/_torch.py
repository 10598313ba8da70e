"""The backend of torch, loaded once a torch tensor was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from torch import Tensor

from ._length import bound
from ._numpy import loop_steps


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
        return bound(xp, g, ctx.max_norm), None


class TorchBackend:
    """See ``Backend``."""

    name = "torch"
    xp: Any = xp

    def stop_gradient(self, x: Tensor) -> Tensor:
        return x.detach()

    def to_numpy(self, x: Tensor) -> np.ndarray[Any, Any]:
        return x.detach().cpu().numpy()

    def from_numpy(self, values: Any, like: Tensor) -> Tensor:
        return torch.asarray(values, dtype=like.dtype).to(like.device)

    def linear_scan(self, a: Tensor, b: Tensor, x0: Tensor, reverse: bool) -> Tensor:
        # unbind is one operation for all rows; addcmul is a whole step in one
        rows_a, rows_b, linked = a.unbind(0), b.unbind(0), (a != 0).unbind(0)
        order = range(len(rows_b) - 1, -1, -1) if reverse else range(len(rows_b))
        out, x = list(rows_b), x0
        for t in order:
            out[t] = x = rows_b[t].addcmul(rows_a[t], torch.where(linked[t], x, 0.0))
        return torch.stack(out)

    def scan_steps(
        self, step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return loop_steps(torch, step, start, rows)

    def gate(self, x: Tensor, keep: Tensor) -> Any:
        return Gate.apply(x, keep)

    def bound(self, x: Tensor, max_norm: float) -> Any:
        return Bound.apply(x, max_norm)

    def clamp(self, x: Tensor, low: float | None, high: float | None) -> Tensor:
        return x.clamp(low, high)

    def cumsum(self, x: Tensor, axis: int) -> Tensor:
        return torch.cumsum(x, axis, dtype=x.dtype)

    def largest(self, x: Tensor) -> Tensor:
        # two passes, but no temporary tensor
        high, low = x.amax(-1), -x.amin(-1)
        return torch.where(high > low, high, low)

    def holds_nan(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or _is_mapped(x):
            return False
        top = x.detach().amax()
        return bool(top != top)


def _is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor has no single value, as inside ``torch.func.vmap``; inside ``torch.func.grad`` it has one."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


TORCH = TorchBackend()
