"""Gaussian action distributions, as they are and squashed to (-1, 1) by tanh."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_LOG_2PI = math.log(2.0 * math.pi)


class Gaussian(NamedTuple):
    """Independent normal variables ``u`` along the last axis; actions are ``a = tanh(u)``.

    Densities of actions are given at ``u`` and never at ``a``: ``atanh`` of a float32 near one has no digits left.
    Ratios of densities of actions, and their divergence, are those of ``u``: the same ``|da/du|`` divides both.
    """

    mean: Tensor
    """``[..., na]``."""
    logstd: Tensor
    """``[..., na]``, or anything that broadcasts to it."""

    def log_prob(self, u: Tensor) -> Tensor:
        """``log N(u; mean, std)``, shape ``[...]``."""
        z = (u - self.mean) * torch.exp(-self.logstd)
        return -(0.5 * z * z + self.logstd + 0.5 * _LOG_2PI).sum(-1)

    def detach(self) -> Gaussian:
        """The same without a graph."""
        return Gaussian(self.mean.detach(), self.logstd.detach())

    def flat(self) -> Gaussian:
        """The same with one leading axis, as ``flatten(0, 1)`` of samples ``[T, N, na]``."""
        return Gaussian(*(torch.broadcast_to(part, self.mean.shape).flatten(0, 1) for part in self))

    def entropy(self) -> Tensor:
        """Entropy of ``u`` [nat], shape ``[...]``: ``sum(logstd + log(2 pi e) / 2)``."""
        return (torch.broadcast_to(self.logstd, self.mean.shape) + 0.5 * (_LOG_2PI + 1.0)).sum(-1)

    def kl(self, other: Gaussian) -> Tensor:
        """``KL(self || other)`` [nat], shape ``[...]``; of the squashed variables too."""
        ratio = torch.exp(2.0 * (self.logstd - other.logstd))
        shift = (self.mean - other.mean) * torch.exp(-other.logstd)
        return (0.5 * (ratio + shift * shift - 1.0) + other.logstd - self.logstd).sum(-1)

    def squashed_log_prob(self, u: Tensor) -> Tensor:
        """Log-density of the action ``a = tanh(u)``, shape ``[...]`` (Haarnoja et al. 2018, appendix C).

        The entropy of ``a`` has no closed form; ``-squashed_log_prob(u)`` of a sample is its unbiased estimate, and
        so is its gradient where ``u = mean + std eps``.
        """
        return self.log_prob(u) - log_det_tanh(u)


def log_det_tanh(u: Tensor) -> Tensor:
    """``log |d tanh(u) / du|`` summed over the last axis, exact where ``1 - tanh^2`` is rounded to 0."""
    return (2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))).sum(-1)
