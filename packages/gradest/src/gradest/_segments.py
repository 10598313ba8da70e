"""Segments: the pieces of episodes that a window of T steps holds, and SHAC's objective over them."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_factor, check_window
from ._scan import linear_scan
from ._values import refuse_nan


def segment_starts(done: Array) -> Array:
    """Where a piece of an episode begins inside the window: at step 0, and after every step done.

    ``start_t = (t = 0) or done_{t-1}``

    Args:
        done: bool, the episode ended or was stopped at this step, shape ``[T, N]``.

    Returns:
        bool, shape ``[T, N]``.

    Raises:
        ValueError: ``done`` is not a bool array of shape ``[T, N]``.
    """
    return starts_of(check_window({}, {"done": done}), done)


def segment_objective(reward: Array, value_next: Array, terminated: Array, done: Array, *, gamma: float) -> Array:
    """What SHAC's policy maximises: the bootstrapped returns of all segments, per step of the window.

    ``J = 1/(T N) sum_{t,n} start_t G_t``, with ``G`` the ``bootstrapped_returns`` and ``start`` the
    ``segment_starts``; SHAC's policy loss (Xu et al. 2022, Eq. 5) is ``-J``.

    Computed as ``1/(T N) sum_{t,n} c_t (r_t + gamma V_t)``, where ``c_t`` is ``gamma`` to the number
    of steps since the segment began and ``V_t`` is ``value_next_t`` where the segment ends without
    termination, else 0. The weights carry no gradient, so only a handful of operations is
    differentiated, against ``T`` of them through ``bootstrapped_returns``.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of what each step led to before any reset, ``[T, N]``.
        terminated: bool, nothing follows this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].

    Returns:
        ``J``, a scalar array.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    gamma = check_factor("gamma", gamma)
    starts = xp.astype(starts_of(xp, done | terminated), reward.dtype)
    weight = linear_scan(gamma * (1.0 - starts), starts, xp.zeros_like(starts[0, :]), reverse=False)
    ends = ends_of(xp, done) & ~terminated
    tail = xp.where(ends, value_next, xp.zeros_like(value_next))
    objective = xp.mean(weight * (reward + gamma * tail))
    refuse_nan(xp, objective, reward=reward, value_next=tail)
    return objective


def segment_discounted(value: Array, done: Array, *, factor: float) -> Array:
    """Values weighted by how far into its segment each step is: ``factor^k value_t``, ``k`` steps after the start.

    The likelihood-ratio gradient of the TD(lambda) return of a segment's start is ``sum_t (gamma lam)^k A_t grad log
    pi(a_t | s_t)`` with ``A`` the ``gae`` advantages: an action has no part in the TD errors before it, and the
    advantage counts those after it as seen from its own step. So weighted, it estimates what
    ``reparameterised_objective`` differentiates.

    Args:
        value: for instance advantages, shape ``[T, N]``.
        done: bool, the episode ended or was stopped at this step, shape ``[T, N]``.
        factor: weight per step, in [0, 1].

    Returns:
        Shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_window({"value": value}, {"done": done})
    factor = check_factor("factor", factor)
    refuse_nan(xp, value=value)
    starts = xp.astype(starts_of(xp, done), value.dtype)
    return value * linear_scan(factor * (1.0 - starts), starts, xp.zeros_like(starts[0, :]), reverse=False)


def starts_of(xp: Any, done: Array) -> Array:
    """``segment_starts`` of a ``done`` that has been checked."""
    return xp.concat([xp.ones_like(done[:1, :]), done[:-1, :]], axis=0)


def ends_of(xp: Any, done: Array) -> Array:
    """Where a segment ends: at every step done, and at the last of the window."""
    return xp.concat([done[:-1, :], xp.ones_like(done[-1:, :])], axis=0)
