"""Fits of critics, by torch's operations or by compiled code, which runs on another core beside what follows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._config import CriticConfig, FitConfig
from .._processes import size
from ._adam import Adam, Optimizer
from ._beside import beside
from ._choice import is_native
from ._critic import Critic, fit_critic, minibatch_rows, passes
from ._mlp import MLP


def fits_natively(config: FitConfig, critic: Critic, device: torch.device) -> bool:
    """Whether compiled code fits critics of this kind; see ``is_native``."""
    return is_native("critic_fit", config.critic_fit, critic.mlp, device, alone=True)


def begin_fit(
    critic: Critic,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    y: Tensor,
    *,
    config: CriticConfig,
    optimizer: Optimizer,
    lr: float,
    generator: torch.Generator,
    elsewhere: bool = True,
) -> Callable[[], tuple[Tensor, Adam, Tensor]]:
    """Begin what ``fit_critic`` describes, as ``config.critic_fit`` says.

    The minibatches are drawn here. Compiled code then runs on another core, and torch's operations when the result is
    asked for.

    Args:
        critic, flat, adam, x, y, config, optimizer, lr: those of ``fit_critic``.
        generator: draws the minibatches.
        elsewhere: use another core, if there is one. Then nobody may change an array before the fit has ended.

    Returns:
        A function that gives the results of ``fit_critic``, to be called once. It raises the errors of the fit.

    Raises:
        ValueError: compiled code was asked for, and cannot do it.
    """
    order = torch.stack([*passes(config, len(y) * size(), generator, y.device)])
    if not fits_natively(config, critic, flat.device):
        options: dict[str, Any] = {"config": config, "optimizer": optimizer, "lr": lr, "order": order}
        return functools.partial(fit_critic, critic, flat, adam, x, y, **options)
    minibatch = minibatch_rows(config, len(y))

    def call() -> tuple[Tensor, Adam, Tensor]:
        fitted, moments = flat.clone(), adam.clone()
        options: dict[str, Any] = {"minibatch": minibatch, "optimizer": optimizer, "lr": lr}
        moments, loss = _natively(critic, fitted, moments, x, y, order, **options)
        return fitted, moments, loss

    return beside(call) if elsewhere else call


def step_(
    critic: Critic, flat: Tensor, adam: Adam, x: Tensor, y: Tensor, *, optimizer: Optimizer, lr: float
) -> tuple[Adam, Tensor]:
    """One step with all rows by compiled code, in place on ``flat`` and moments; the mean squared error before it."""
    order = torch.arange(len(y))[None]
    return _natively(critic, flat, adam, x, y, order, minibatch=len(y), optimizer=optimizer, lr=lr)


def _natively(critic: Critic, flat: Tensor, adam: Adam, x: Tensor, y: Tensor, order: Tensor, **options: Any):
    from ._native_fit import fit_natively_  # which loads a compiler

    assert isinstance(critic.mlp, MLP)
    return fit_natively_(critic.mlp, critic.count, flat, adam, x, y, order.int(), **options)
