"""RPO's loss, and the epochs of a policy that descend it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import gradest

from ._adam import Adam, Optimizer
from ._distributions import Gaussian
from ._policy import GaussianActor, by_autograd


class ReusedGradients(NamedTuple):
    """Minus ``mean w g a``, plus divergence, minus entropy (Zhong et al. 2025); one row for each step of each world."""

    u: Tensor
    """Actions before tanh, ``[B, na]``."""
    gradient: Tensor
    """Of the summed returns with respect to each of them, ``[B, na]``."""
    old: Gaussian
    """The policy that acted, ``[B, na]`` both."""
    log_prob_old: Tensor
    """Log-densities of the actions under it, ``[B]``."""
    ratio: tuple[float, float]
    """Smallest and largest ratio of densities that counts."""
    kl_coef: float
    entropy_coef: float

    def weight(self, policy: Gaussian) -> Tensor:
        """Ratio of each action, 0 where it is out of range, ``[B]``."""
        low, high = self.ratio
        return gradest.gated_ratio(policy.log_prob(self.u), self.log_prob_old, low=low, high=high)

    def loss(self, policy: Gaussian) -> Tensor:
        """A scalar; of its first part only the gradient has a meaning."""
        noise = gradest.recovered_noise(self.u, *policy)
        loss = -gradest.reused_objective(*policy, noise, self.gradient, self.weight(policy))
        # Without the test, a divergence that overflows would spoil the gradient by zero times infinity.
        if self.kl_coef > 0.0:
            loss = loss + self.kl_coef * gradest.gaussian_kl(*self.old, *policy).mean()
        if self.entropy_coef > 0.0:
            loss = loss - self.entropy_coef * gradest.gaussian_entropy(policy.logstd).mean()
        return loss

    def rows(self, rows: Tensor) -> ReusedGradients:
        """The same of some rows."""
        u, gradient, log_prob_old = (part[rows] for part in (self.u, self.gradient, self.log_prob_old))
        old = Gaussian(*(part[rows] for part in self.old))
        return self._replace(u=u, gradient=gradient, old=old, log_prob_old=log_prob_old)


def reuse_(
    actor: GaussianActor,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    loss: ReusedGradients,
    orders: list[Tensor],
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
) -> tuple[Adam, Tensor]:
    """Take a step down the loss for every minibatch of every epoch, in place on ``flat`` and the moments.

    Args:
        actor: the network.
        flat: its parameters.
        adam: their moments.
        x: normalised observations ``[B, no]``.
        loss: what to descend, of ``B`` rows.
        orders: the rows of each epoch, ``[B]``.
        minibatch: rows of a step; the last one of an epoch may have fewer.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        The moments, and the norm of the gradient of each step before clipping, ``[steps]``.
    """
    norms = []
    for order in orders:
        for rows in order.split(minibatch):
            _, grad = actor.gradient(flat, x[rows], by_autograd(loss.rows(rows).loss))
            adam, norm = optimizer.step_(flat, adam, grad, lr)
            norms.append(norm)
    return adam, torch.stack(norms)
