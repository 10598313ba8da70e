"""First- and zeroth-order gradients of one objective, SHAC's, which mixtures are made of."""

from __future__ import annotations

import torch
from torch import Tensor

import gradest

from ._on_policy import Advantages
from ._window import Window, lost_share


def first_order(window: Window, values: Advantages, gamma: float) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """SHAC's objective of a window, and its gradients by the actions.

    One backward pass through the simulator gives those of all actions.

    Args:
        window: recorded with ``push``.
        values: of its states.
        gamma: the discount.

    Returns:
        The objective, a mean over worlds and steps; its gradient by the actions before tanh ``[T, N, na]``, 0 where it
        was blocked; whether it was ``[T, N]``; and the metrics that follow from these.
    """
    objective = gradest.segment_objective(window.trajectory.reward, values.value_next, *window.ends, gamma=gamma)
    by_action, lost = torch.autograd.grad(objective, [window.push, window.lost], allow_unused=True)
    metrics = {"actor_loss": -objective, "lost_gradients": lost_share(lost, objective.detach())}
    blocked = torch.zeros_like(window.lost, dtype=torch.bool) if lost is None else lost > 0
    return objective, by_action, blocked, metrics


def zeroth_weight(window: Window, advantage: Tensor, gamma: float, discount: bool) -> Tensor:
    """Advantages ``[T, N]`` without graph, as they weigh scores: with ``discount`` those of SHAC's objective, which
    counts what happens ``k`` steps into a segment ``gamma^k`` times."""
    advantage = advantage.detach()
    return gradest.segment_discounted(advantage, window.ends[1], factor=gamma) if discount else advantage
