"""Returns of steps that another policy took: V-trace and Retrace."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ._backend import clamp
from ._check import Array, check_number, check_window
from ._factors import check_factors
from ._masked import weighted
from ._scan import linear_scan
from ._segments import ends_of
from ._stop import stop_gradient
from ._values import refuse_nan


class VTrace(NamedTuple):
    """Targets of a value function and of a policy; each field ``[T, N]``."""

    target: Array
    """``v_t``, what the value function is fitted to."""
    advantage: Array
    """``min(rho_max, pi / mu) (q_t - V(s_t))``, the weight of ``grad log pi(a_t | s_t)``."""


def vtrace(
    reward: Array,
    value: Array,
    value_next: Array,
    log_prob: Array,
    log_prob_old: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: Array | float,
    lam: Array | float = 1.0,
    rho_max: float = 1.0,
    c_max: float = 1.0,
) -> VTrace:
    """V-trace: value targets and advantages of a policy ``pi`` from the steps of another policy ``mu``.

    With ``rho_t = min(rho_max, pi(a_t | s_t) / mu(a_t | s_t))`` and ``c_t = lam_t min(c_max, pi / mu)``,

    ``delta_t = rho_t (r_t + gamma_t (1 - terminated_t) value_next_t - value_t)``

    ``v_t - value_t = delta_t + gamma_t c_t (1 - done_t) (v_{t+1} - value_{t+1})``, without the last term at ``t = T-1``

    Espeholt et al., IMPALA (2018), Eq. 1 in the recursive form of their Remark 1, with the lambda of their Remark 2.
    ``rho_max`` decides whose values are found: those of ``pi`` where it is infinite, those of ``mu`` where it is near
    zero. ``c_max`` decides how fast, and with what variance.

    The advantage is that of their section 4.2, ``rho_t (q_t - value_t)`` with ``q_t = r_t + gamma_t (1 -
    terminated_t) [(1 - lam_t) value_next_t + lam_t v_{t+1}]``, and ``value_next_t`` alone in the brackets where
    ``done_t`` or ``t = T-1``.

    Where both policies are the same and neither bound is below 1, ``target - value`` is ``gae``; if one value function
    gives ``value`` and ``value_next``, ``target`` is ``td_lambda``. The ratios are constants: no gradient flows through
    them.

    Args:
        reward: rewards, shape ``[T, N]``.
        value: ``V(s_t)``, the value of the state in which each action was taken, ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        log_prob: log-density of the actions under ``pi``, ``[T, N]``.
        log_prob_old: the same under ``mu``, which took them, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        lam: lambda, in [0, 1]; a number or an array like ``gamma``. ``lam_t`` weights ``v_{t+1}``.
        rho_max: largest weight of a TD error, above 0; it may be infinite.
        c_max: largest weight of later TD errors for lambda 1, above 0; it may be infinite.

    Returns:
        Targets and advantages.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    known = {"reward": reward, "value": value, "log_prob": log_prob, "log_prob_old": log_prob_old}
    xp, gamma, lam, tail = _checked(known, value_next, terminated, done, gamma, lam)
    zero = xp.zeros_like(reward)
    log_ratio = stop_gradient(log_prob) - stop_gradient(log_prob_old)
    rho, c = (_bounded(xp, log_ratio, name, most) for name, most in (("rho_max", rho_max), ("c_max", c_max)))
    ends: Array = done | terminated
    delta = rho * (reward + gamma * tail - value)
    carry = (gamma * lam) * c * xp.astype(~ends, reward.dtype)
    target = value + linear_scan(carry, delta, zero[-1, :], reverse=True)
    goes_on = lam * xp.astype(~ends_of(xp, ends), reward.dtype)
    following = weighted(xp, 1.0 - goes_on, tail) + weighted(xp, goes_on, _next_row(xp, target))
    return VTrace(target, rho * (reward + gamma * following - value))


def retrace(
    reward: Array,
    q_value: Array,
    value_next: Array,
    log_prob: Array,
    log_prob_old: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: Array | float,
    lam: Array | float = 1.0,
    c_max: float = 1.0,
) -> Array:
    """Retrace(lambda): targets of a Q function of a policy ``pi`` from the steps of another policy ``mu``.

    With ``delta_t = r_t + gamma_t (1 - terminated_t) value_next_t - q_value_t``,

    ``G_t - q_value_t = delta_t + gamma_t lam_t min(c_max, pi(a_{t+1} | s_{t+1}) / mu(a_{t+1} | s_{t+1})) (1 - done_t)
    (G_{t+1} - q_value_{t+1})``, without the last term at ``t = T-1``

    Munos et al., Safe and Efficient Off-Policy Reinforcement Learning (2016), Eq. 3 and 4, where ``c_max`` is 1. The
    expectation of ``G`` is a contraction towards ``Q^pi`` for any two policies; a ``c_max`` above 1 gives that up.

    Where both policies are the same, ``G - q_value`` is ``gae`` with ``q_value`` for the value. The ratios are
    constants: no gradient flows through them.

    Args:
        reward: rewards, shape ``[T, N]``.
        q_value: ``Q(s_t, a_t)``, ``[T, N]``.
        value_next: ``E_pi Q(final_obs, .)``, expected Q value of the observation after each step, before any reset,
            over the actions of ``pi``, ``[T, N]``.
        log_prob: log-density of the actions under ``pi``, ``[T, N]``.
        log_prob_old: the same under ``mu``, which took them, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        lam: lambda, in [0, 1]; a number or an array like ``gamma``. ``lam_t`` weights step ``t + 1``, which Munos et
            al. give the index ``t + 1``.
        c_max: largest ratio, above 0; it may be infinite.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    known = {"reward": reward, "q_value": q_value, "log_prob": log_prob, "log_prob_old": log_prob_old}
    xp, gamma, lam, tail = _checked(known, value_next, terminated, done, gamma, lam)
    zero = xp.zeros_like(reward)
    c = _bounded(xp, stop_gradient(log_prob) - stop_gradient(log_prob_old), "c_max", c_max)
    # the last step carries nothing: `linear_scan` begins with zero
    carry = (gamma * lam) * weighted(xp, xp.astype(~(done | terminated), reward.dtype), _next_row(xp, c))
    return q_value + linear_scan(carry, reward + gamma * tail - q_value, zero[-1, :], reverse=True)


def _checked(
    known: dict[str, Array], value_next: Array, terminated: Array, done: Array, gamma: Any, lam: Any
) -> tuple[Any, Any, Any, Array]:
    """The array library, both factors, and the values that follow: 0 where the task ended, which may be NaN before."""
    xp = check_window({**known, "value_next": value_next}, {"terminated": terminated, "done": done})
    gamma, lam = check_factors("reward", known["reward"], gamma=gamma, lam=lam)
    tail = xp.where(terminated, xp.zeros_like(value_next), value_next)
    refuse_nan(xp, **known, value_next=tail)
    return xp, gamma, lam, tail


def _bounded(xp: Any, log_ratio: Array, name: str, most: float) -> Array:
    """``min(most, exp(log_ratio))``, whose exponential does not overflow where there is a bound."""
    most = check_number(name, most, 0.0, above=True, infinite=True)
    return xp.exp(log_ratio if most == math.inf else clamp(log_ratio, None, math.log(most)))


def _next_row(xp: Any, x: Array) -> Array:
    """``x_{t+1}``; the last row once more at the end."""
    return xp.concat([x[1:, :], x[-1:, :]], axis=0)
