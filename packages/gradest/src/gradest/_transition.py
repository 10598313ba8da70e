"""Consecutive steps as one longer step: what a Q function learns n-step targets from."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._check import Array, check_factor, check_window
from ._values import refuse_nan


class NStepTransition(NamedTuple):
    """Up to ``T`` steps from the first row of a window on as one step, each field ``[N]``."""

    reward: Array
    """``sum_{i<k} gamma^i r_i``."""
    discount: Array
    """What the value of ``final_obs`` at row ``last`` counts: ``gamma^k``, or 0 where that step terminated."""
    last: Array
    """Row of the last step taken together, an integer: ``k - 1``."""


def n_step_transition(reward: Array, terminated: Array, done: Array, *, gamma: float) -> NStepTransition:
    """The steps from row 0 on, taken together as far as the episode goes.

    With ``k`` the number of steps up to the first that is done, at most ``T``,

    ``G = sum_{i<k} gamma^i r_i + gamma^k (1 - terminated_{k-1}) V(final_obs_{k-1})``

    is ``reward + discount * V(final_obs[last])``: row 0 of ``n_step_returns`` with ``n = T``, for those who draw single
    steps with what followed them from a replay buffer and want the value of one observation each. Sutton & Barto,
    Reinforcement Learning (2nd ed., 2018), Eq. 7.1.

    Args:
        reward: rewards, shape ``[T, N]``. Those after the episode's end do not enter.
        terminated: bool, nothing follows this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, or that the rows after it do not continue it, ``[T, N]``.
        gamma: discount per step, in [0, 1].

    Returns:
        The transition, each field ``[N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward}, {"terminated": terminated, "done": done})
    gamma = check_factor("gamma", gamma)
    ends = done | terminated
    going_on = xp.ones_like(ends[0, :])
    total, discount = xp.zeros_like(reward[0, :]), xp.ones_like(reward[0, :])
    steps = _count(xp, going_on) * 0
    for row in range(reward.shape[0]):
        total = xp.where(going_on, total + discount * reward[row, :], total)
        left = xp.where(terminated[row, :], xp.zeros_like(discount), gamma * discount)
        discount = xp.where(going_on, left, discount)
        steps = steps + _count(xp, going_on)
        going_on = going_on & ~ends[row, :]
    refuse_nan(xp, total, reward=reward)
    return NStepTransition(total, discount, steps - 1)


def _count(xp: Any, flags: Array) -> Array:
    """0 or 1, in the framework's index type."""
    return xp.astype(flags, xp.asarray(0).dtype)
