"""n-step returns, all time steps at once."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_count, check_factor, check_window
from ._segments import ends_of
from ._values import refuse_nan


def n_step_returns(reward: Array, value_next: Array, terminated: Array, done: Array, *, gamma: float, n: int) -> Array:
    """The rewards of the next ``n`` steps, discounted, and the value of what they led to.

    ``G_t = sum_{i<k} gamma^i r_{t+i} + gamma^k (1 - terminated_{t+k-1}) value_next_{t+k-1}``

    with ``k = n``, or fewer where the episode or the window ends before. Sutton & Barto, Reinforcement Learning
    (2nd ed., 2018), Eq. 7.1; the ``G_t^k`` of SHAC's critic target (Xu et al. 2022, below Eq. 7). ``n=1`` is the
    one-step target, and ``n >= T`` gives ``bootstrapped_returns``.

    Computed in ``log2(n)`` operations on whole windows: a step is the affine map ``x -> b_t + a_t x`` of the return
    after it, and maps of 1, 2, 4, ... steps are composed of one another.

    Args:
        reward: rewards, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of what each step led to before any reset, ``[T, N]``.
        terminated: bool, nothing follows this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].
        n: number of rewards, at least 1.

    Returns:
        ``G``, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    gamma, steps = check_factor("gamma", gamma), check_count("n", n) - 1
    zero = xp.zeros_like(reward)
    tail = xp.where(terminated, zero, value_next)
    refuse_nan(xp, reward=reward, value_next=tail)
    horizon = reward.shape[0]
    stops = ends_of(xp, done | terminated)
    out = reward + gamma * tail
    # where the next step belongs to the same segment its return follows, elsewhere the value does
    a = gamma * xp.astype(~stops, reward.dtype)
    b = reward + gamma * xp.where(stops, tail, zero)
    # past the window nothing is left to add
    steps, length = min(steps, horizon - 1), 1
    while steps:
        if steps & 1:
            out = b + a * _later(xp, out, length)
        steps >>= 1
        if steps:
            a, b, length = a * _later(xp, a, length), b + a * _later(xp, b, length), 2 * length
    return out


def _later(xp: Any, x: Array, steps: int) -> Array:
    """``x_{t + steps}``, zero past the window's end."""
    if steps >= x.shape[0]:
        return xp.zeros_like(x)
    return xp.concat([x[steps:, :], xp.zeros_like(x[:steps, :])], axis=0)
