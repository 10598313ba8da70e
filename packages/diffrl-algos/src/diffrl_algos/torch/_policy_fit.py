"""Epochs of a Gaussian policy over a window, by torch's operations or by compiled code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._config import PolicyFitConfig
from ._adam import Adam, Optimizer
from ._choice import is_native
from ._distributions import Gaussian
from ._policy import GaussianActor, native_steps
from ._policy_losses import SquaredError, Surrogate


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
        from ._native_policy_fit import fit_policy_natively_  # which loads a compiler

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
