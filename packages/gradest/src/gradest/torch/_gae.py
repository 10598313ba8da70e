"""``dA_t/da_t`` of a rollout with its graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._gae_gradient import check_decay, gae_action_gradient, gae_objective


def gae_gradient(
    advantage: Tensor, actions: Tensor | Sequence[Tensor], done: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """Gradient of every step's advantage with respect to its own action, in one backward pass (GI-PPO, Eq. 15).

    The rollout needs its graph: each action enters the simulator, whose rewards and observations lead through ``gae``
    to ``advantage``. The function composes ``gae_objective`` and ``gae_action_gradient``. It keeps the graph for
    further backward passes.

    Args:
        advantage: ``gae`` of the rollout, shape ``[T, N]``.
        actions: the action of each step as it entered the simulator: ``T`` tensors ``[N, m]``, or one ``[T, N, m]``
            whose rows did.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        gamma: discount given to ``gae``, in [0, 1].
        lam: lambda given to ``gae``, in [0, 1].

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``, without graph.

    Raises:
        ValueError: an argument has the wrong shape, dtype or range or holds NaN, ``gamma * lam`` is zero, or
            ``advantage`` does not depend on an action.
    """
    check_decay(gamma, lam)
    leaves = _leaves(advantage, actions)
    (*grads,) = torch.autograd.grad(gae_objective(advantage, done), leaves, retain_graph=True, allow_unused=True)
    gradient = grads[0] if isinstance(actions, Tensor) else torch.stack(_connected(grads))
    return gae_action_gradient(_connected([gradient])[0], done, gamma=gamma, lam=lam)


def gae_gradient_by_steps(advantage: Tensor, actions: Tensor | Sequence[Tensor]) -> Tensor:
    """``gae_gradient`` by its definition, in ``T`` backward passes: slow, but right for any ``gamma`` and ``lam``.

    Worlds must be independent, because one pass differentiates the sum of a step's advantages over all worlds.

    Args:
        advantage: ``gae`` of the rollout, shape ``[T, N]``.
        actions: as in ``gae_gradient``.

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``, without graph.

    Raises:
        ValueError: an argument has the wrong shape, or ``advantage`` does not depend on an action.
    """
    leaves = _leaves(advantage, actions)
    rows = []
    for t in range(len(advantage)):
        leaf = leaves[0] if isinstance(actions, Tensor) else leaves[t]
        (grad,) = torch.autograd.grad(advantage[t].sum(), leaf, retain_graph=True, allow_unused=True)
        (grad,) = _connected([grad])
        rows.append(grad[t] if isinstance(actions, Tensor) else grad)
    return torch.stack(rows)


def _leaves(advantage: Tensor, actions: Tensor | Sequence[Tensor]) -> list[Tensor]:
    shape = tuple(advantage.shape)
    given = [tuple(actions.shape)] if isinstance(actions, Tensor) else [(1, *a.shape) for a in actions]
    steps = sum(one[0] for one in given)
    if len(shape) != 2 or steps != shape[0] or any(len(one) != 3 or one[1] != shape[1] for one in given):
        raise ValueError(
            f"actions has shape {given[0] if isinstance(actions, Tensor) else (len(given), *given[0][1:])}; "
            f"expected [T, N, m] with [T, N] = {shape} like advantage"
        )
    if not advantage.requires_grad:
        raise ValueError("advantage carries no graph; compute the rollout and the advantages with gradients enabled")
    return [actions] if isinstance(actions, Tensor) else list(actions)


def _connected(grads: Sequence[Tensor | None]) -> list[Tensor]:
    for t, grad in enumerate(grads):
        if grad is None:
            raise ValueError(
                f"actions (step {t}) has no part in the graph of advantage; pass the tensors that entered the "
                "simulator, not copies of them"
            )
    return [grad for grad in grads if grad is not None]
