"""PPO's clipped surrogate objective, and GI-PPO's virtual policy."""

from __future__ import annotations

import math

from ._backend import clamp
from ._check import Array, check_arrays, check_number
from ._stop import stop_gradient
from ._values import refuse_nan


def clipped_surrogate(log_prob: Array, log_prob_old: Array, advantage: Array, *, clip: float) -> Array:
    """PPO's clipped objective: the density ratio times the advantage, with no gain beyond the clip range.

    ``mean(min(w A, clip(w, 1 - eps, 1 + eps) A))``, ``w = exp(log pi - log pi_old)`` (Schulman et al. 2017, Eq. 7;
    GI-PPO, Son et al. 2023, Eq. 17). GI-PPO's own objective (Eq. 18) uses the virtual policy instead of the old one:
    pass ``virtual_log_prob(...)`` as ``log_prob_old``.

    A sample whose ratio has left the range in the direction of its advantage has no gradient. In the other direction
    the term is unbounded, as in the paper, up to ratios near the largest number of the dtype; beyond that it is
    constant.

    Args:
        log_prob: log-density of the actions under the learned policy, any shape; differentiable.
        log_prob_old: the same under the reference policy, same shape. A constant.
        advantage: same shape. A constant.
        clip: epsilon, the largest distance of the ratio from 1, above 0.

    Returns:
        A scalar array, to be maximised.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays(
        {"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "..."), "advantage": (advantage, "...")}
    )
    clip = check_number("clip", clip, 0.0, above=True)
    given = {"log_prob": log_prob, "log_prob_old": log_prob_old, "advantage": advantage}
    log_ratio, advantage = log_prob - stop_gradient(log_prob_old), stop_gradient(advantage)
    # an infinite ratio times a gradient of zero would be NaN
    ratio = xp.exp(clamp(log_ratio, None, 0.9 * math.log(float(xp.finfo(log_ratio.dtype).max))))
    objective = xp.mean(xp.minimum(ratio * advantage, clamp(ratio, 1.0 - clip, 1.0 + clip) * advantage))
    refuse_nan(xp, objective, **given)
    return objective


def virtual_log_prob(log_prob_old: Array, log_prob_alpha: Array) -> Array:
    """Log-density of GI-PPO's virtual policy, halfway between the old policy and the alpha-policy.

    ``log pi_h = log((pi_old + pi_alpha) / 2)`` (Son et al. 2023, section 4.3.2), without overflow or underflow of
    either density. A PPO step near it undoes neither policy.

    Args:
        log_prob_old: log-density of the actions under the policy that collected them, any shape.
        log_prob_alpha: the same under the policy fitted to the alpha-policy, same shape.

    Returns:
        Log-densities, the same shape.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob_old": (log_prob_old, "..."), "log_prob_alpha": (log_prob_alpha, "...")})
    halfway = xp.logaddexp(log_prob_old, log_prob_alpha) - math.log(2.0)
    refuse_nan(xp, halfway, log_prob_old=log_prob_old, log_prob_alpha=log_prob_alpha)
    return halfway
