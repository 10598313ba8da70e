"""Segments, the parts of episodes inside a window of T steps, and SHAC's objective over them."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_window
from ._factors import check_factors, one_step_before
from ._masked import weighted
from ._scan import linear_scan
from ._values import refuse_nan


def segment_starts(done: Array) -> Array:
    """First steps of segments: step 0 of the window, and the step after every step that is done.

    ``start_t = (t = 0) or done_{t-1}``

    Args:
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.

    Returns:
        bool, shape ``[T, N]``.

    Raises:
        ValueError: ``done`` is not a bool array of shape ``[T, N]``.
    """
    return starts_of(check_window({}, {"done": done}), done)


def segment_objective(
    reward: Array, value_next: Array, terminated: Array, done: Array, *, gamma: Array | float
) -> Array:
    """SHAC's policy objective: the bootstrapped returns of all segments, per step of the window.

    ``J = 1/(T N) sum_{t,n} start_t G_t``, with ``G`` the ``bootstrapped_returns`` and ``start`` the
    ``segment_starts``; SHAC's policy loss (Xu et al. 2022, Eq. 5) is ``-J``.

    It is computed as ``1/(T N) sum_{t,n} c_t (r_t + gamma V_t)``. ``c_t`` is ``gamma`` to the number of steps since the
    segment began (with an array, the product over these steps); ``V_t`` is ``value_next_t`` where the segment ends
    without termination, else 0. The weights carry no gradient, unless ``gamma`` does, so the backward pass has a few
    operations instead of the ``T`` of ``bootstrapped_returns``.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.

    Returns:
        ``J``, a scalar array.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    (gamma,) = check_factors("reward", reward, gamma=gamma)
    starts = xp.astype(starts_of(xp, done | terminated), reward.dtype)
    linked = one_step_before(xp, gamma) * (1.0 - starts)
    weight = linear_scan(linked, starts, xp.zeros_like(starts[0, :]), reverse=False)
    ends = ends_of(xp, done) & ~terminated
    tail = xp.where(ends, value_next, xp.zeros_like(value_next))
    objective = xp.mean(weighted(xp, weight, reward + gamma * tail))
    refuse_nan(xp, objective, reward=reward, value_next=tail)
    return objective


def segment_discounted(value: Array, done: Array, *, factor: Array | float) -> Array:
    """Values discounted by their place in the segment: ``factor^k value_t``, ``k`` steps after its start.

    The likelihood-ratio gradient of the TD(lambda) return at a segment's start is ``sum_t (gamma lam)^k A_t grad log
    pi(a_t | s_t)`` with ``A`` the ``gae`` advantages: an action does not influence earlier TD errors, and its advantage
    discounts later ones from its own step. With these weights it estimates the gradient of
    ``reparameterised_objective``.

    Args:
        value: for instance advantages, shape ``[T, N]``.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        factor: weight per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``factor_t``
            weights what follows step ``t``.

    Returns:
        Shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_window({"value": value}, {"done": done})
    (factor,) = check_factors("value", value, factor=factor)
    refuse_nan(xp, value=value)
    starts = xp.astype(starts_of(xp, done), value.dtype)
    linked = one_step_before(xp, factor) * (1.0 - starts)
    weight = linear_scan(linked, starts, xp.zeros_like(starts[0, :]), reverse=False)
    return weighted(xp, weight, value)


def starts_of(xp: Any, done: Array) -> Array:
    """``segment_starts`` of a ``done`` that has been checked."""
    return xp.concat([xp.ones_like(done[:1, :]), done[:-1, :]], axis=0)


def ends_of(xp: Any, done: Array) -> Array:
    """Last steps of segments: every step that is done, and the last step of the window."""
    return xp.concat([done[:-1, :], xp.ones_like(done[-1:, :])], axis=0)
