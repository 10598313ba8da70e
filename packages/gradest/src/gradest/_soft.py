"""Entropy-augmented rewards, from which every return gets its soft version."""

from __future__ import annotations

from ._check import Array, check_arrays, check_number
from ._values import refuse_nan


def soft_reward(reward: Array, entropy: Array, *, temperature: Array | float) -> Array:
    """Reward plus the weighted entropy of the policy.

    ``r_t + temperature H_t``, with ``H_t`` the entropy of the policy at the state in which the action was taken.

    The soft version of a return is the return of the soft reward, with soft values. Of this reward,
    ``discounted_returns`` is the entropy-augmented H-step return of SAPO (Xing et al. 2024, Eq. 8),
    ``segment_objective`` its policy objective (Eq. 9), and ``td_lambda`` its TD(lambda) target (Eq. 10). ``-log_prob``
    of the action is an unbiased estimate of the entropy and may replace it.

    In SAC's convention (Haarnoja et al. 2018) a soft *action value* counts the entropy from the next state on. The
    return computed here is a soft *state value* (SAPO, Eq. 3 and 7), which is larger by ``temperature H_t``.

    Args:
        reward: rewards, shape ``[T, N]``.
        entropy: entropy of the policy at ``s_t`` [nat], shape ``[T, N]``.
        temperature: weight of the entropy: a number of at least 0, or a scalar array of the same framework. The value
            of an array is not checked, because that would read it from the device.

    Returns:
        Soft rewards, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    arrays = {"reward": (reward, "T N"), "entropy": (entropy, "T N")}
    if isinstance(temperature, float) or not hasattr(temperature, "shape"):
        temperature = check_number("temperature", temperature, 0.0)
    else:
        arrays["temperature"] = (temperature, "")
    xp = check_arrays(arrays)
    soft = reward + temperature * entropy
    refuse_nan(xp, soft, reward=reward, entropy=entropy)
    return soft
