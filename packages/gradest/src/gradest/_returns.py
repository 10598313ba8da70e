"""Returns: discounted, bootstrapped and TD(lambda)."""

from __future__ import annotations

from ._check import Array, check_window
from ._factors import check_factors
from ._masked import weighted
from ._scan import linear_scan
from ._values import refuse_nan


def discounted_returns(reward: Array, done: Array, *, gamma: Array | float) -> Array:
    """Sum of discounted rewards to the end of the episode or of the window, without any bootstrap.

    ``G_t = r_t + gamma (1 - done_t) G_{t+1}``, with ``G_T = 0``.

    Sutton & Barto, Reinforcement Learning (2nd ed., 2018), Eq. 3.8 and 3.9.

    Args:
        reward: rewards, shape ``[T, N]``.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward}, {"done": done})
    (gamma,) = check_factors("reward", reward, gamma=gamma)
    carry = gamma * xp.astype(~done, reward.dtype)
    refuse_nan(xp, reward=reward)
    return linear_scan(carry, reward, xp.zeros_like(reward[-1, :]), reverse=True)


def bootstrapped_returns(
    reward: Array, value_next: Array, terminated: Array, done: Array, *, gamma: Array | float
) -> Array:
    """Discounted rewards to the end of the episode or of the window, plus the discounted bootstrap value.

    ``G_t = r_t + gamma (1 - terminated_t) [value_next_t if done_t or t = T-1 else G_{t+1}]``

    This is the bracket of SHAC's policy loss (Xu et al. 2022, Eq. 5), started from every step ``t``. Discount and value
    are reset where an episode ends, as the paper says. It equals ``td_lambda(lam=1)``. The gradient flows through
    ``reward`` and ``value_next``.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    (gamma,) = check_factors("reward", reward, gamma=gamma)
    zero = xp.zeros_like(value_next)
    # where, not a product: the value of a terminated state must not count, even if it is NaN
    tail = xp.where(terminated, zero, value_next)
    refuse_nan(xp, reward=reward, value_next=tail)
    carry = gamma * xp.astype(~(done | terminated), reward.dtype)
    return linear_scan(carry, reward + gamma * xp.where(done, tail, zero), tail[-1, :], reverse=True)


def td_lambda(
    reward: Array,
    value_next: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: Array | float,
    lam: Array | float,
) -> Array:
    """TD(lambda) returns: the k-step returns of each step, averaged with weights proportional to lambda^k.

    ``G_t = r_t + gamma (1 - terminated_t) [(1 - lam) value_next_t + lam G_{t+1}]`` inside an episode,
    ``G_t = r_t + gamma (1 - terminated_t) value_next_t`` where ``done_t`` or ``t = T-1``.

    This is the recursive form (Sutton & Barto 2018, Eq. 12.18) of SHAC's critic target (Xu et al. 2022, Eq. 7). The
    longest return gets the remaining weight. ``lam=0`` gives the one-step target, ``lam=1`` ``bootstrapped_returns``. A
    regression target should be a constant: stop the gradient of the arguments or of the result.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        lam: lambda, the weight of longer returns, in [0, 1]; a number or an array like ``gamma``. ``lam_t`` weights
            ``G_{t+1}``.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    gamma, lam = check_factors("reward", reward, gamma=gamma, lam=lam)
    tail = xp.where(terminated, xp.zeros_like(value_next), value_next)
    refuse_nan(xp, reward=reward, value_next=tail)
    carry = (gamma * lam) * xp.astype(~(done | terminated), reward.dtype)
    return linear_scan(carry, reward + weighted(xp, gamma - carry, tail), tail[-1, :], reverse=True)
