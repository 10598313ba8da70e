"""n-step returns, computed for all steps at once."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_count, check_window
from ._factors import check_factors
from ._masked import weighted
from ._segments import ends_of
from ._values import refuse_nan


def n_step_returns(
    reward: Array, value_next: Array, terminated: Array, done: Array, *, gamma: Array | float, n: int
) -> Array:
    """Discounted rewards of the next ``n`` steps, plus the discounted bootstrap value.

    ``G_t = sum_{i<k} gamma^i r_{t+i} + gamma^k (1 - terminated_{t+k-1}) value_next_{t+k-1}``

    ``k`` is ``n``, or less where the episode or the window ends earlier. With an array, ``gamma^i`` stands for
    ``gamma_t ... gamma_{t+i-1}``. Sutton & Barto, Reinforcement Learning (2nd ed., 2018), Eq. 7.1; the ``G_t^k`` of
    SHAC's critic target (Xu et al. 2022, below Eq. 7). ``n=1`` gives the one-step target, ``n >= T`` gives
    ``bootstrapped_returns``.

    The computation takes ``log2(n)`` operations on whole windows. A step is the affine map ``x -> b_t + a_t x`` of the
    next return; maps of 2, 4, 8, ... steps are compositions of two shorter ones.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        n: number of rewards, at least 1.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    (gamma,) = check_factors("reward", reward, gamma=gamma)
    steps = check_count("n", n) - 1
    zero = xp.zeros_like(reward)
    tail = xp.where(terminated, zero, value_next)
    refuse_nan(xp, reward=reward, value_next=tail)
    horizon = reward.shape[0]
    stops = ends_of(xp, done | terminated)
    out = reward + gamma * tail
    # inside a segment the next return is added, at its end the value
    a = gamma * xp.astype(~stops, reward.dtype)
    b = reward + gamma * xp.where(stops, tail, zero)
    # a step beyond the window adds nothing
    steps, length = min(steps, horizon - 1), 1
    while steps:
        if steps & 1:
            out = b + weighted(xp, a, _shifted(xp, out, length))
        steps >>= 1
        if steps:
            a, b, length = a * _shifted(xp, a, length), b + weighted(xp, a, _shifted(xp, b, length)), 2 * length
    return out


def _shifted(xp: Any, x: Array, steps: int) -> Array:
    """``x_{t + steps}``, zero beyond the end of the window."""
    if steps >= x.shape[0]:
        return xp.zeros_like(x)
    return xp.concat([x[steps:, :], xp.zeros_like(x[:steps, :])], axis=0)
