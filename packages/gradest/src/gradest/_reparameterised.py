"""The objective of reparameterised (pathwise) gradients, for each world."""

from __future__ import annotations

from ._check import Array, check_window
from ._factors import check_factors, one_step_before
from ._masked import weighted
from ._scan import linear_scan
from ._segments import ends_of, starts_of
from ._values import refuse_nan


def reparameterised_objective(
    reward: Array,
    value_next: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: Array | float,
    lam: Array | float = 1.0,
) -> Array:
    """Sum of the TD(lambda) returns of each world's segments, whose gradient is the RP gradient.

    ``J_n = sum_t start_t G_t``, with ``G`` the ``td_lambda`` returns and ``start`` the ``segment_starts``.

    With actions ``a = g(s, eps)`` and fixed noise, rewards and values are functions of the policy's parameters. The
    gradient of a world's objective is one sample of the reparameterised policy gradient (GI-PPO, Son et al. 2023,
    Appendix 7.2.2; Kingma & Welling 2013). The released code of that paper trains its RP baseline with ``lam=0.95`` on
    the mean over segments, ``sum(J) / sum(segment_starts)``. SHAC has ``lam=1`` and the mean over steps: ``sum(J) / (T
    N)`` is ``segment_objective``, which is cheaper to differentiate.

    Args:
        reward: rewards, differentiable, shape ``[T, N]``.
        value_next: ``V(final_obs)``, the value of the observation after each step, before any reset, ``[T, N]``.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1]: a number, or an array ``[T, N]``, ``[T, 1]`` or ``[1, N]``. ``gamma_t``
            discounts what follows step ``t``.
        lam: lambda, the weight of longer returns, in [0, 1]; a number or an array like ``gamma``.

    Returns:
        ``J``, shape ``[N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN that would enter; the
            message names it.
    """
    xp = check_window({"reward": reward, "value_next": value_next}, {"terminated": terminated, "done": done})
    gamma, lam = check_factors("reward", reward, gamma=gamma, lam=lam)
    tail = xp.where(terminated, xp.zeros_like(value_next), value_next)
    refuse_nan(xp, reward=reward, value_next=tail)
    ends = done | terminated
    starts = xp.astype(starts_of(xp, ends), reward.dtype)
    # the return of a start is linear in later rewards and values, so weights without gradient suffice
    linked = one_step_before(xp, gamma * lam) * (1.0 - starts)
    weight = linear_scan(linked, starts, xp.zeros_like(starts[0, :]), reverse=False)
    share = gamma * (1.0 - lam * xp.astype(~ends_of(xp, ends), reward.dtype))
    return xp.sum(weighted(xp, weight, reward + weighted(xp, share, tail)), axis=0)
