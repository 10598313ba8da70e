"""Generalised advantage estimation."""

from __future__ import annotations

from ._check import Array, check_window
from ._factors import check_factors
from ._scan import linear_scan
from ._values import refuse_nan


def gae(
    reward: Array,
    value: Array,
    value_next: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: Array | float,
    lam: Array | float,
) -> Array:
    """Generalised advantage estimate: the sum of later TD errors with weights ``(gamma lam)^k``.

    ``delta_t = r_t + gamma (1 - terminated_t) value_next_t - value_t``

    ``A_t = delta_t + gamma lam (1 - done_t) A_{t+1}``, with ``A_T = 0``.

    Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation (2016), Eq. 16,
    truncated at the end of the window. ``lam=0`` gives the TD error (Eq. 17), ``lam=1`` the bootstrapped return minus
    the value (Eq. 18). At a time limit the value is that of ``final_obs``, not that of the observation after the reset.

    Args:
        reward: rewards, shape ``[T, N]``.
        value: ``V(s_t)``, the value of the state in which each action was taken, ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        lam: lambda, the weight of later TD errors, in [0, 1]; a number or an array like ``gamma``. ``lam_t`` weights
            ``A_{t+1}``.

    Returns:
        ``A``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window(
        {"reward": reward, "value": value, "value_next": value_next},
        {"terminated": terminated, "done": done},
    )
    gamma, lam = check_factors("reward", reward, gamma=gamma, lam=lam)
    zero = xp.zeros_like(reward)
    tail = xp.where(terminated, zero, value_next)
    refuse_nan(xp, reward=reward, value=value, value_next=tail)
    delta = reward + gamma * tail - value
    carry = (gamma * lam) * xp.astype(~(done | terminated), reward.dtype)
    return linear_scan(carry, delta, zero[-1, :], reverse=True)
