"""How far a policy has left the one that collected the samples, and what it would bring."""

from __future__ import annotations

import math

from ._check import Array, check_arrays, check_number
from ._stop import stop_gradient
from ._values import refuse_nan


def out_of_range_ratio(log_prob: Array, log_prob_old: Array, *, clip: float) -> Array:
    """The share of samples whose density ratio has left PPO's range, so that PPO can do nothing for them.

    ``mean(|pi / pi_old - 1| > eps)`` (GI-PPO, Son et al. 2023, Eq. 12). A constant.

    Args:
        log_prob: log-density of the actions under the policy that is learned, any shape.
        log_prob_old: the same under the policy that took them, same shape.
        clip: epsilon, how far the ratio may go from one, above 0.

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
    """What a policy is expected to bring beyond the one that collected the samples: the test for biased gradients.

    ``mean((pi / pi_old - 1) A)``, or with ``centred=False`` ``mean(pi / pi_old A)`` to the letter of GI-PPO (Son et
    al. 2023, Eq. 16). As advantages under the old policy average to zero the two have one expectation; the first varies
    less. By Proposition 4.3 it is positive after a small step up true gradients, so a negative one speaks of bias.

    Every sample is paired with its own density and advantage: keep the three arrays in the same order.

    Args:
        log_prob: log-density of the actions under the new policy, any shape.
        log_prob_old: the same under the policy that took them, same shape.
        advantage: same shape.
        centred: leave out what the old policy has by itself.
        max_log_ratio: the logarithm of the ratio is cut there, as in the released code, so that a density a
            millionfold does not decide alone. At least 0.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays(
        {"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "..."), "advantage": (advantage, "...")}
    )
    limit = check_number("max_log_ratio", max_log_ratio, 0.0)
    log_ratio = xp.clip(log_prob - log_prob_old, None, limit)
    gain = xp.mean((xp.expm1(log_ratio) if centred else xp.exp(log_ratio)) * advantage)
    refuse_nan(xp, gain, log_prob=log_prob, log_prob_old=log_prob_old, advantage=advantage)
    return gain
