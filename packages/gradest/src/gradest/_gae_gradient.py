"""The gradient of each step's advantage by its own action, from one backward pass instead of one for each step."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_arrays, check_factor, check_window
from ._scan import linear_scan
from ._segments import starts_of
from ._values import refuse_nan


def gae_objective(advantage: Array, done: Array) -> Array:
    """The one number whose gradient by the actions holds the gradients of all advantages.

    ``sum_{t,n} start_t A_t``: the advantages of the first step of every segment (see ``segment_starts``).
    ``gae_action_gradient`` turns its gradient into ``dA_t/da_t`` (GI-PPO, Son et al. 2023, Eq. 15).

    Args:
        advantage: ``gae`` of a differentiable roll-out, shape ``[T, N]``.
        done: bool, the episode ended or was stopped at this step, shape ``[T, N]``.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_window({"advantage": advantage}, {"done": done})
    refuse_nan(xp, advantage=advantage)
    return xp.sum(xp.where(starts_of(xp, done), advantage, xp.zeros_like(advantage)))


def gae_action_gradient(gradient: Array, done: Array, *, gamma: float, lam: float) -> Array:
    """``dA_t/da_t`` from the gradient of ``gae_objective`` by the actions.

    ``dA_t/da_t = (gamma lam)^-k dA_{t-k}/da_t``, where the segment of step ``t`` began ``k`` steps before it
    (GI-PPO, Son et al. 2023, Eq. 15, for every segment of the window).

    The derivative is that of the closed loop: later actions answer to the change through the policy.
    The factor grows with the length of a segment, to 6.7 after 31 steps with 0.99 and 0.95, and so do the rounding
    errors of the backward pass; with a small ``gamma lam`` and long windows it overflows to infinity.

    Args:
        gradient: gradient of ``gae_objective`` by the actions, shape ``[T, N, m]``.
        done: bool, the episode ended or was stopped at this step, shape ``[T, N]``.
        gamma: discount per step, in [0, 1]; the one given to ``gae``.
        lam: lambda of ``gae``, in [0, 1].

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; or ``gamma * lam`` is
            zero, with which the first advantage says nothing of later actions.
    """
    xp = check_arrays({"gradient": (gradient, "T N m")}, {"done": (done, "T N")})
    decay = check_decay(gamma, lam)
    refuse_nan(xp, gradient=gradient)
    starts = xp.astype(starts_of(xp, done), gradient.dtype)
    weight = linear_scan((1.0 / decay) * (1.0 - starts), starts, xp.zeros_like(starts[0, :]), reverse=False)
    return weight[:, :, None] * gradient


def check_decay(gamma: Any, lam: Any) -> float:
    """``gamma * lam``, checked not to be zero."""
    decay = check_factor("gamma", gamma) * check_factor("lam", lam)
    if decay == 0.0:
        raise ValueError(
            f"gamma is {gamma} and lam is {lam}; expected a product above 0: one backward pass reaches later steps"
            " only through it. Differentiate each step's advantage by itself instead (gae_gradient_by_steps)"
        )
    return decay
