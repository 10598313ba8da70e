"""Policy gradients of single worlds, for variances and mixtures; no pass through the simulator for each.

Worlds are independent, and parameters enter only through the actions ``u = mu + sigma eps``.
"""

from __future__ import annotations

from torch import Tensor

from gradest.torch import per_sample_gradients

from ._distributions import Gaussian
from ._policy import GaussianActor


def pathwise_gradients(actor: GaussianActor, flat: Tensor, x: Tensor, eps: Tensor, by_action: Tensor) -> Tensor:
    """The gradient of each world's objective through its actions, ``[N, P]``.

    It is that of ``sum_t <dJ/du_t, u_t>`` with ``dJ/du_t`` held constant.

    Args:
        actor: the network.
        flat: its parameters.
        x: normalised observations, ``[T, N, no]``.
        eps: the noise in the actions, ``[T, N, na]``.
        by_action: ``dJ/du``, of actions before tanh, ``[T, N, na]``.
    """

    def moved(flat: Tensor, x: Tensor, eps: Tensor, slope: Tensor) -> Tensor:
        policy: Gaussian = actor(actor.split(flat), x)
        return (slope * (policy.mean + eps * policy.logstd.exp())).sum()

    return per_sample_gradients(moved, flat.detach(), *_by_world(x, eps, by_action))


def score_gradients(actor: GaussianActor, flat: Tensor, x: Tensor, u: Tensor, weight: Tensor) -> Tensor:
    """``sum_t weight_t grad log pi(u_t | x_t)`` of each world, ``[N, P]``.

    Args:
        actor: the network.
        flat: its parameters.
        x: normalised observations, ``[T, N, no]``.
        u: actions before tanh, ``[T, N, na]``.
        weight: for instance advantages, ``[T, N]``.
    """

    def score(flat: Tensor, x: Tensor, u: Tensor, weight: Tensor) -> Tensor:
        policy: Gaussian = actor(actor.split(flat), x)
        return (weight * policy.log_prob(u)).sum()

    return per_sample_gradients(score, flat.detach(), *_by_world(x, u, weight))


def _by_world(*parts: Tensor) -> tuple[Tensor, ...]:
    """``[T, N, ...] -> [N, T, ...]``."""
    return tuple(part.detach().transpose(0, 1) for part in parts)
