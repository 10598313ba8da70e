"""Measures of a policy against the one that collected the samples: GI-PPO's tests."""

from __future__ import annotations

import math

from ._backend import clamp
from ._check import Array, check_arrays, check_number
from ._stop import stop_gradient
from ._values import refuse_nan


def out_of_range_ratio(log_prob: Array, log_prob_old: Array, *, clip: float) -> Array:
    """Fraction of samples whose density ratio lies outside PPO's clip range.

    ``mean(|pi / pi_old - 1| > eps)`` (GI-PPO, Son et al. 2023, Eq. 12). A constant.

    Args:
        log_prob: log-density of the actions under the learned policy, any shape.
        log_prob_old: the same under the policy that collected them, same shape.
        clip: epsilon, the largest distance of the ratio from 1, above 0.

    Returns:
        A scalar array in [0, 1].

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "...")})
    clip = check_number("clip", clip, 0.0, above=True)
    refuse_nan(xp, log_prob=log_prob, log_prob_old=log_prob_old)
    log_ratio = stop_gradient(log_prob) - stop_gradient(log_prob_old)
    low = math.log1p(-clip) if clip < 1.0 else -math.inf
    outside = (log_ratio > math.log1p(clip)) | (log_ratio < low)
    return xp.mean(xp.astype(outside, log_ratio.dtype))


def additional_return(
    log_prob: Array, log_prob_old: Array, advantage: Array, *, centred: bool = True, max_log_ratio: float = 16.0
) -> Array:
    """Expected gain of a policy over the one that collected the samples: GI-PPO's test for biased gradients.

    ``mean((pi / pi_old - 1) A)``, or with ``centred=False`` ``mean(pi / pi_old A)``, which is Eq. 16 of GI-PPO (Son et
    al. 2023) literally. Advantages under the old policy average to zero, so both have the same expectation; the first
    varies less. By Proposition 4.3 it is positive after a small step along true gradients, so a negative value
    indicates bias.

    The three arrays must list the samples in the same order.

    Args:
        log_prob: log-density of the actions under the new policy, any shape.
        log_prob_old: the same under the policy that collected them, same shape.
        advantage: same shape.
        centred: subtract the mean advantage of the samples, whose expectation is zero.
        max_log_ratio: largest logarithm of the ratio, at least 0; larger ones are clipped, as in the released code, so
            that one sample with an extreme density does not decide the result.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays(
        {"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "..."), "advantage": (advantage, "...")}
    )
    limit = check_number("max_log_ratio", max_log_ratio, 0.0)
    log_ratio = clamp(log_prob - log_prob_old, None, limit)
    gain = xp.mean((xp.expm1(log_ratio) if centred else xp.exp(log_ratio)) * advantage)
    refuse_nan(xp, gain, log_prob=log_prob, log_prob_old=log_prob_old, advantage=advantage)
    return gain
