"""Losses that a Gaussian policy is fitted to in epochs, and the choice of what fits it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import gradest

from .._config import PolicyFitConfig
from ._adam import Adam, Optimizer
from ._choice import is_native
from ._distributions import Gaussian
from ._policy import GaussianActor, by_autograd, native_steps


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


class Steps(NamedTuple):
    """What each step of a fit leaves, ``[passes, minibatches]``."""

    loss: Tensor
    """The mean loss of the minibatch before the step."""
    norm: Tensor
    """The norm of the gradient before clipping."""
    outside: Tensor
    """The share of rows whose ``w`` was outside the clip range."""


def fits_policy_natively(config: PolicyFitConfig, actor: GaussianActor, device: torch.device) -> bool:
    """Whether compiled code fits policies of this kind; see ``is_native``."""
    return is_native("policy_fit", config.policy_fit, actor.mlp, device, alone=True)


def fit_policy_(
    actor: GaussianActor,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    order: Tensor,
    loss: SquaredError | Surrogate,
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
    native: bool,
) -> tuple[Adam, Tensor]:
    """Take steps down a loss, in place on ``flat`` and the moments, by compiled code if ``native``.

    Args:
        actor, flat, adam, x, order, loss, minibatch, optimizer, lr: those of ``fit_policy_natively_``.
        native: by compiled code.

    Returns:
        The moments, and the mean loss of each minibatch before its step, ``[passes, minibatches]``.
    """
    if native:
        options: dict[str, Any] = {"minibatch": minibatch, "optimizer": optimizer, "lr": lr}
        adam, steps = fit_policy_natively_(actor, flat, adam, x, order, loss, **options)
        return adam, steps.loss
    losses, place = [], 0
    for each in order:
        for rows in each.split(minibatch):
            part = loss.rows(rows, slice(place, place + len(rows)))
            value, grad = actor.gradient(flat, x[rows], part.pull)
            adam, _ = optimizer.step_(flat, adam, grad, lr)
            losses.append(value)
            place += len(rows)
    return adam, torch.stack(losses).view(len(order), -1)


def fit_policy_natively_(
    actor: GaussianActor,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    order: Tensor,
    loss: SquaredError | Surrogate,
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
) -> tuple[Adam, Steps]:
    """Take steps down a loss by compiled code, in place on ``flat`` and the moments.

    Args:
        actor: a policy without an encoder.
        flat: its parameters, contiguous, float32 or float64, on a CPU.
        adam: their moments, contiguous.
        x: normalised observations ``[B, no]``.
        order: the rows of each pass, whole numbers ``[passes, B]``, each from 0 to B - 1.
        loss: what to descend, with data of ``B`` rows.
        minibatch: rows of a step; the last one of a pass may have fewer.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        The moments, and figures of the steps.

    Raises:
        ValueError: an array has another shape or number type than ``flat`` and ``x`` ask for; the message names it.
    """
    from ._native_policy_fit import run_  # which loads a compiler

    return run_(actor, flat, adam, x, order, loss, minibatch=minibatch, optimizer=optimizer, lr=lr)


def distribution(actor: GaussianActor, flat: Tensor, x: Tensor, *, native: bool) -> Gaussian:
    """Distributions at normalised observations ``x [..., no]``, without a graph; by compiled code if ``native``."""
    if not native:
        with torch.no_grad():
            return actor(actor.split(flat), x)
    rows = x.reshape(-1, x.shape[-1])
    flat = flat.detach()
    with torch.no_grad():
        mean, logstd, *_ = native_steps(actor, flat)(rows, rows.new_zeros(len(rows), actor.num_actions))
    if logstd is None:
        logstd = actor.split(flat)[1]
        assert logstd is not None
        return Gaussian(mean.view(*x.shape[:-1], -1), logstd)
    return Gaussian(*(part.view(*x.shape[:-1], -1) for part in (mean, logstd)))
