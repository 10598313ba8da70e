"""The epochs of a policy that descend RPO's loss, by torch's operations or by compiled code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._adam import Adam, Optimizer
from ._policy import GaussianActor
from ._policy_losses import ReusedGradients


def reuse_(
    actor: GaussianActor,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    order: Tensor,
    loss: ReusedGradients,
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
    native: bool,
) -> tuple[Adam, Tensor]:
    """Take a step down the loss for every minibatch of every epoch, in place on ``flat`` and the moments.

    Args:
        actor, flat, adam, x, order, minibatch, optimizer, lr: those of ``fit_policy_natively_``.
        loss: what to descend; its reference has one pass, which serves all of them.
        native: by compiled code.

    Returns:
        The moments, and the norm of the gradient of each step before clipping, ``[epochs, minibatches]``.
    """
    if native:
        from ._native_policy_fit import fit_policy_natively_  # which loads a compiler

        options: dict[str, Any] = {"minibatch": minibatch, "optimizer": optimizer, "lr": lr}
        loss = loss._replace(reference=loss.reference[order].flatten())
        adam, steps = fit_policy_natively_(actor, flat, adam, x, order, loss, **options)
        return adam, steps.norm
    norms = []
    for each in order:
        for rows in each.split(minibatch):
            _, grad = actor.gradient(flat, x[rows], loss.rows(rows, rows).pull)
            adam, norm = optimizer.step_(flat, adam, grad, lr)
            norms.append(norm)
    return adam, torch.stack(norms).view(len(order), -1)
