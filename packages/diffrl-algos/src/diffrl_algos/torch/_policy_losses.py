"""Losses that a Gaussian policy descends in epochs over a window, and what the steps leave."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

import gradest

from ._distributions import Gaussian
from ._policy import by_autograd


class SquaredError(NamedTuple):
    """``mean |mu + sigma eps - target|^2``: GI-PPO's fit to the alpha-policy (Son et al. 2023, Eq. 8 and 10)."""

    eps: Tensor
    """The noise of the actions, ``[B, na]``."""
    target: Tensor
    """Actions before tanh, ``[B, na]``."""

    def pull(self, policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        """``gradest.alpha_policy_loss`` with its gradient by hand, which is faster than by autograd; see ``Pull``."""
        noise = self.eps * policy.logstd.exp()
        error = policy.mean + noise - self.target
        by_mean = error * (2.0 / len(error))
        return error.square().sum(-1).mean(), by_mean, by_mean * noise

    def rows(self, rows: Tensor, reference: slice | Tensor) -> SquaredError:
        """The same of some rows."""
        return SquaredError(self.eps[rows], self.target[rows])


class Surrogate(NamedTuple):
    """Minus ``mean min(w A, clip(w) A)``, ``w = exp(log pi - reference)`` (Schulman et al. 2017, Eq. 7).

    GI-PPO's is relative to the virtual policy (Son et al. 2023, Eq. 18).
    """

    u: Tensor
    """Actions before tanh, ``[B, na]``."""
    advantage: Tensor
    """``[B]``."""
    reference: Tensor
    """Log-densities ``[passes * B]``, in the order in which the rows come."""
    clip: float
    """Largest distance of ``w`` from 1 that is rewarded."""
    entropy_coef: float = 0.0
    """Weight of the entropy, whose gradient is subtracted. The loss is without it."""

    def loss(self, policy: Gaussian) -> Tensor:
        """The loss, of one pass over all rows."""
        return -gradest.clipped_surrogate(policy.log_prob(self.u), self.reference, self.advantage, clip=self.clip)

    def pull(self, policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Pull``."""
        loss, by_mean, by_logstd = by_autograd(self.loss)(policy)
        # The entropy of a row is the sum of its log sigma and a constant; of all rows it is the mean.
        share = by_logstd.shape[-1] / by_logstd.numel()
        return loss, by_mean, by_logstd - self.entropy_coef * share if self.entropy_coef else by_logstd

    def rows(self, rows: Tensor, reference: slice | Tensor) -> Surrogate:
        """The same of some rows, which have these places in ``reference``."""
        return self._replace(u=self.u[rows], advantage=self.advantage[rows], reference=self.reference[reference])


class ReusedGradients(NamedTuple):
    """Minus ``mean w g a``, plus divergence, minus entropy: RPO's (Zhong et al. 2025). The actions are ``u``."""

    u: Tensor
    """Actions before tanh, ``[B, na]``."""
    gradient: Tensor
    """Of the summed returns with respect to each of them, ``[B, na]``."""
    mean_old: Tensor
    """Means of the policy that acted, ``[B, na]``."""
    logstd_old: Tensor
    """``log sigma`` of it, ``[B, na]``."""
    reference: Tensor
    """Log-densities under it ``[passes * B]``, in the order in which the rows come."""
    ratio: tuple[float, float]
    """Smallest and largest ratio of densities that counts."""
    kl_coef: float
    """Weight of the divergence of the policy that acted from the new one."""
    entropy_coef: float
    """Weight of the entropy."""

    def weight(self, policy: Gaussian) -> Tensor:
        """The ratio of each action, 0 where it is out of range, ``[B]``; of one pass over all rows."""
        low, high = self.ratio
        return gradest.gated_ratio(policy.log_prob(self.u), self.reference, low=low, high=high)

    def divergence(self, policy: Gaussian) -> Tensor:
        """Mean divergence of the policy that acted from another one, a scalar."""
        return gradest.gaussian_kl(self.mean_old, self.logstd_old, *policy).mean()

    def loss(self, policy: Gaussian) -> Tensor:
        """The loss, of one pass over all rows; of its first part only the gradient has a meaning."""
        noise = gradest.recovered_noise(self.u, *policy)
        loss = -gradest.reused_objective(*policy, noise, self.gradient, self.weight(policy))
        # Without the test, a divergence that overflows would spoil the gradient by zero times infinity.
        if self.kl_coef > 0.0:
            loss = loss + self.kl_coef * self.divergence(policy)
        if self.entropy_coef > 0.0:
            loss = loss - self.entropy_coef * gradest.gaussian_entropy(policy.logstd).mean()
        return loss

    def pull(self, policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Pull``."""
        return by_autograd(self.loss)(policy)

    def rows(self, rows: Tensor, reference: slice | Tensor) -> ReusedGradients:
        """The same of some rows, which have these places in ``reference``."""
        some = {name: getattr(self, name)[rows] for name in ("u", "gradient", "mean_old", "logstd_old")}
        return self._replace(**some, reference=self.reference[reference])


class Steps(NamedTuple):
    """What each step of a fit leaves, ``[passes, minibatches]``."""

    loss: Tensor
    """The mean loss of the minibatch before the step."""
    norm: Tensor
    """The norm of the gradient before clipping."""
    outside: Tensor
    """The share of rows whose ``w`` was out of range."""
