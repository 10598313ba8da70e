"""Adam and AdamW over one flat tensor, with clipping, as arrays in and arrays out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from . import _distributed as distributed

_EPS = 1e-8
"""Added to the root of the second moment."""


class Adam(NamedTuple):
    """Moments of Adam (Kingma & Ba 2015, Algorithm 1) for one flat parameter tensor ``[P]``."""

    m: Tensor
    """First moment ``[P]``."""
    v: Tensor
    """Second moment ``[P]``."""
    step: int
    """Steps taken; in a graph of an update it is a tensor, and so may the learning rate be."""

    @classmethod
    def init(cls, params: Tensor) -> Adam:
        return cls(torch.zeros_like(params), torch.zeros_like(params), 0)

    def clone(self) -> Adam:
        return Adam(self.m.clone(), self.v.clone(), self.step)

    def step_(
        self,
        params: Tensor,
        grad: Tensor,
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
        eps: float = _EPS,
    ) -> Adam:
        """One step, in place on ``params``, ``m`` and ``v``: give clones of what must stay.

        With ``weight_decay`` it is AdamW (Loshchilov & Hutter 2019, Algorithm 2): ``params <- (1 - lr decay) params``
        first.
        """
        b1, b2 = betas
        step = self.step + 1
        if weight_decay:
            params.mul_(1.0 - lr * weight_decay)
        self.m.lerp_(grad, 1.0 - b1)
        self.v.mul_(b2).addcmul_(grad, grad, value=1.0 - b2)
        if isinstance(step, Tensor):
            taken = step.double()
            denominator = self.v.sqrt().div_((1.0 - b2**taken).sqrt()).add_(eps)
            params.addcdiv_(self.m * (-lr / (1.0 - b1**taken)), denominator)
        else:
            denominator = self.v.sqrt().div_(math.sqrt(1.0 - b2**step)).add_(eps)
            params.addcdiv_(self.m, denominator, value=-lr / (1.0 - b1**step))
        return self._replace(step=step)


def clip_norm(grad: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
    """``grad`` scaled to at most ``max_norm`` in the Euclidean norm, and its norm before that."""
    norm = grad.norm()
    return grad * (max_norm / (norm + 1e-6)).clamp(max=1.0), norm


@dataclass(frozen=True)
class Optimizer:
    """Clipping and Adam(W) with fixed constants; the moments are the caller's."""

    betas: tuple[float, float]
    max_norm: float
    """Gradients longer than this are scaled down to it."""
    weight_decay: float = 0.0
    eps: float = _EPS
    """Added to the root of the second moment: gradients much smaller than this are not brought to size."""

    def step_(self, params: Tensor, adam: Adam, grad: Tensor, lr: float) -> tuple[Adam, Tensor]:
        """One step in place on ``params`` and moments; also the gradient's norm before clipping.

        In several processes the gradient is the mean of theirs.
        """
        grad, norm = clip_norm(distributed.mean(grad), self.max_norm)
        constants = {"betas": self.betas, "weight_decay": self.weight_decay, "eps": self.eps}
        return adam.step_(params, grad, lr=lr, **constants), norm

    def step(self, params: Tensor, adam: Adam, grad: Tensor, lr: float) -> tuple[Tensor, Adam, Tensor]:
        """One step from ``params`` and moments, which stay as they are."""
        params, adam = params.clone(), adam.clone()
        adam, norm = self.step_(params, adam, grad, lr)
        return params, adam, norm
