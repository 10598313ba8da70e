"""Gradients of all advantages with respect to their own actions, from one backward pass."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_arrays, check_factor, check_window
from ._scan import linear_scan
from ._segments import starts_of
from ._values import refuse_nan


def gae_objective(advantage: Array, done: Array) -> Array:
    """A scalar whose gradient with respect to the actions contains the gradients of all advantages.

    ``sum_{t,n} start_t A_t``: the advantages of the first step of every segment (see ``segment_starts``).
    ``gae_action_gradient`` turns its gradient into ``dA_t/da_t`` (GI-PPO, Son et al. 2023, Eq. 15).

    Args:
        advantage: ``gae`` of a differentiable rollout, shape ``[T, N]``.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_window({"advantage": advantage}, {"done": done})
    refuse_nan(xp, advantage=advantage)
    return xp.sum(xp.where(starts_of(xp, done), advantage, xp.zeros_like(advantage)))


def gae_action_gradient(gradient: Array, done: Array, *, gamma: float, lam: float) -> Array:
    """``dA_t/da_t`` from the gradient of ``gae_objective`` with respect to the actions.

    ``dA_t/da_t = (gamma lam)^-k dA_{t-k}/da_t``, where the segment of step ``t`` began ``k`` steps earlier
    (GI-PPO, Son et al. 2023, Eq. 15, for every segment of the window).

    The derivative is that of the closed loop: the policy changes later actions in response.
    The factor grows with the length of a segment, to 6.7 after 31 steps with 0.99 and 0.95. The rounding errors of the
    backward pass grow with it. With a small ``gamma lam`` and a long window it overflows to infinity.

    Args:
        gradient: gradient of ``gae_objective`` with respect to the actions, shape ``[T, N, m]``.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        gamma: discount per step, in [0, 1]; the one given to ``gae``.
        lam: lambda of ``gae``, in [0, 1].

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; or ``gamma * lam`` is
            zero, so that the first advantage does not depend on later actions.
    """
    xp = check_arrays({"gradient": (gradient, "T N m")}, {"done": (done, "T N")})
    decay = check_decay(gamma, lam)
    refuse_nan(xp, gradient=gradient)
    starts = xp.astype(starts_of(xp, done), gradient.dtype)
    weight = linear_scan((1.0 / decay) * (1.0 - starts), starts, xp.zeros_like(starts[0, :]), reverse=False)
    return weight[:, :, None] * gradient


def check_decay(gamma: Any, lam: Any) -> float:
    """``gamma * lam``.

    Raises:
        ValueError: the product is zero.
    """
    decay = check_factor("gamma", gamma) * check_factor("lam", lam)
    if decay == 0.0:
        raise ValueError(
            f"gamma is {gamma} and lam is {lam}; expected a product above 0, because one backward pass reaches later "
            "steps only through it. Use gae_gradient_by_steps, which differentiates each advantage separately"
        )
    return decay
