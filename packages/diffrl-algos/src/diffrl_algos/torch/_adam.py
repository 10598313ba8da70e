"""Adam over one flat tensor, as arrays in and arrays out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_EPS = 1e-8


class Adam(NamedTuple):
    """Moments of Adam (Kingma & Ba 2015, Algorithm 1) for one flat parameter tensor ``[P]``."""

    m: Tensor
    """First moment ``[P]``."""
    v: Tensor
    """Second moment ``[P]``."""
    step: int
    """Steps taken."""

    @classmethod
    def init(cls, params: Tensor) -> Adam:
        return cls(torch.zeros_like(params), torch.zeros_like(params), 0)

    def clone(self) -> Adam:
        return Adam(self.m.clone(), self.v.clone(), self.step)

    def step_(self, params: Tensor, grad: Tensor, *, lr: float, betas: tuple[float, float]) -> Adam:
        """One step, in place on ``params``, ``m`` and ``v``: give clones of what must stay."""
        b1, b2 = betas
        step = self.step + 1
        self.m.lerp_(grad, 1.0 - b1)
        self.v.mul_(b2).addcmul_(grad, grad, value=1.0 - b2)
        denominator = self.v.sqrt().div_(math.sqrt(1.0 - b2**step)).add_(_EPS)
        params.addcdiv_(self.m, denominator, value=-lr / (1.0 - b1**step))
        return self._replace(step=step)


def clip_norm(grad: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
    """``grad`` scaled to at most ``max_norm`` in the Euclidean norm, and its norm before that."""
    norm = grad.norm()
    return grad * (max_norm / (norm + 1e-6)).clamp(max=1.0), norm
