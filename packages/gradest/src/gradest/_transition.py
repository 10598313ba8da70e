"""Consecutive steps as one longer step: n-step targets for a Q function."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._check import Array, check_window
from ._factors import at_row, check_factors
from ._values import refuse_nan


class NStepTransition(NamedTuple):
    """Up to ``T`` steps, from the first row of a window on, as one step; each field ``[N]``."""

    reward: Array
    """``sum_{i<k} gamma^i r_i``."""
    discount: Array
    """Weight of the value of ``final_obs`` at row ``last``: ``gamma^k``, or 0 where that step terminated."""
    last: Array
    """Row of the last step that counts, an integer: ``k - 1``."""


def n_step_transition(reward: Array, terminated: Array, done: Array, *, gamma: Array | float) -> NStepTransition:
    """Join the steps from row 0 to the end of the episode (or of the window) into one step.

    With ``k`` the number of steps up to the first that is done, at most ``T``,

    ``G = sum_{i<k} gamma^i r_i + gamma^k (1 - terminated_{k-1}) V(final_obs_{k-1})``

    is ``reward + discount * V(final_obs[last])``. This is row 0 of ``n_step_returns`` with ``n = T``, but needs the
    value of one observation only. It serves a replay buffer that returns each drawn step with the steps after it.
    Sutton & Barto, Reinforcement Learning (2nd ed., 2018), Eq. 7.1.

    Args:
        reward: rewards, shape ``[T, N]``. Rewards after the end of the episode do not count.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, or the next row does not continue this one, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.

    Returns:
        The transition, each field ``[N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward}, {"terminated": terminated, "done": done})
    (gamma,) = check_factors("reward", reward, gamma=gamma)
    ends = done | terminated
    alive = xp.ones_like(ends[0, :])
    total, discount = xp.zeros_like(reward[0, :]), xp.ones_like(reward[0, :])
    steps = _count(xp, alive) * 0
    for row in range(reward.shape[0]):
        total = xp.where(alive, total + discount * reward[row, :], total)
        following = xp.where(terminated[row, :], xp.zeros_like(discount), at_row(gamma, row) * discount)
        discount = xp.where(alive, following, discount)
        steps = steps + _count(xp, alive)
        alive = alive & ~ends[row, :]
    refuse_nan(xp, total, reward=reward)
    return NStepTransition(total, discount, steps - 1)


def _count(xp: Any, flags: Array) -> Array:
    """0 or 1, in the library's index type."""
    return xp.astype(flags, xp.asarray(0).dtype)
