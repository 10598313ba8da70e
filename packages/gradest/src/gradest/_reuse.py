"""RPO: the gradients of one window, used for several steps of a policy."""

from __future__ import annotations

import math

from ._backend import clamp
from ._check import Array, check_arrays, check_number
from ._gaussian import check_gaussian
from ._masked import counted
from ._stop import stop_gradient
from ._values import refuse_nan


def gated_ratio(log_prob: Array, log_prob_old: Array, *, low: float = 0.2, high: float = 2.0) -> Array:
    """Density ratio of each sample, or zero where it is out of range: RPO's weight of a stored gradient.

    ``w = rho if low <= rho <= high else 0``, ``rho = exp(log pi - log pi_old)`` (RPO, Zhong et al. 2025,
    arXiv:2508.06214; the range is that of a third party's digest). Unlike PPO's clip, it does not ask for the sign of
    an advantage: a sample that is out of range has no gradient in either direction. A constant.

    Args:
        log_prob: log-density of the actions under the learned policy, any shape.
        log_prob_old: the same under the policy that acted, same shape.
        low: smallest ratio that counts, from 0 to 1.
        high: largest ratio that counts, at least 1; infinity leaves it out.

    Returns:
        Weights, same shape.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "...")})
    low = check_number("low", low, 0.0, 1.0)
    high = check_number("high", high, 1.0, infinite=True)
    refuse_nan(xp, log_prob=log_prob, log_prob_old=log_prob_old)
    log_ratio = stop_gradient(log_prob) - stop_gradient(log_prob_old)
    # with no upper limit, a ratio that overflows stays a number
    ratio = xp.exp(clamp(log_ratio, None, 0.9 * math.log(float(xp.finfo(log_ratio.dtype).max))))
    return xp.where((ratio < low) | (ratio > high), xp.zeros_like(ratio), ratio)


def reused_objective(mean: Array, logstd: Array, noise: Array, gradient: Array, weight: Array) -> Array:
    """A scalar whose gradient is the reparameterised policy gradient of actions that another policy took.

    ``mean_j w_j sum_i g_ji (mu_ji + sigma_ji eps_ji)`` (RPO, Zhong et al. 2025, arXiv:2508.06214). Only its gradient
    has a meaning, its value has none. Let ``eps`` be the ``recovered_noise`` of the actions, ``g = dR/da`` and ``w``
    the density ratio. Then the gradient is an unbiased estimate of the derivative of the expected ``R`` over the
    learned policy's actions, in the states that the old policy visited. For the policy that acted all ratios are 1,
    and it is the gradient of the window: SHAC's. ``gated_ratio`` exchanges bias for variance.

    Args:
        mean: means of the learned policy, ``[N, m]`` or ``[T, N, m]``; differentiable.
        logstd: its ``log sigma``, the same shape, or ``[m]`` where it does not depend on the state; differentiable.
        noise: the noise with which that policy takes the stored actions (``recovered_noise``), the shape of ``mean``. A
            constant.
        gradient: gradient of the summed returns with respect to each action before any tanh, the shape of ``mean``. A
            constant.
        weight: of each sample (``gated_ratio``), ``[N]`` or ``[T, N]``. A constant. A sample of weight zero does not
            count, even if its noise or gradient is not finite.

    Returns:
        A scalar array, to be maximised.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN that would enter; the message
            names it.
    """
    given = {"mean": mean, "logstd": logstd, "noise": noise, "gradient": gradient}
    xp = check_gaussian(given, weight=weight)
    each = stop_gradient(weight)[..., None]
    noise, gradient = (counted(xp, each, stop_gradient(part)) for part in (noise, gradient))
    objective = xp.mean(xp.sum(each * gradient * (mean + xp.exp(logstd) * noise), axis=-1))
    refuse_nan(xp, objective, **given, weight=weight)
    return objective
