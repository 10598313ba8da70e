"""Entropy in the reward, from which every return has its soft version."""

from __future__ import annotations

from ._check import Array, check_arrays, check_number
from ._values import refuse_nan


def soft_reward(reward: Array, entropy: Array, *, temperature: Array | float) -> Array:
    """Reward plus what the policy's randomness is worth.

    ``r_t + temperature H_t``, with ``H_t`` the entropy of the policy at the state the action was taken in.

    The soft version of a return is the return of the soft reward, with the soft value function for its values: the
    entropy-augmented H-step return of SAPO (Xing et al. 2024, Eq. 8) is ``discounted_returns``, its policy objective
    (Eq. 9) ``segment_objective`` and its TD(lambda) target (Eq. 10) ``td_lambda`` of this reward. ``-log_prob`` of
    the action taken may stand for the entropy; it is its unbiased estimate.

    In SAC's convention (Haarnoja et al. 2018) a soft *action value* counts the entropy from the next state on, so it
    is less by ``temperature H_t`` than the return computed here, which is a soft *state value* (SAPO, Eq. 3 and 7).

    Args:
        reward: rewards, shape ``[T, N]``.
        entropy: entropy of the policy at ``s_t`` [nat], shape ``[T, N]``.
        temperature: weight of the entropy: a number of at least 0, or a scalar array of the same framework, whose value
            is not checked, so that nothing has to be read from a device.

    Returns:
        Soft rewards, shape ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    arrays = {"reward": (reward, "T N"), "entropy": (entropy, "T N")}
    if isinstance(temperature, int | float):
        temperature = check_number("temperature", temperature, 0.0)
    else:
        arrays["temperature"] = (temperature, "")
    xp = check_arrays(arrays)
    soft = reward + temperature * entropy
    refuse_nan(xp, soft, reward=reward, entropy=entropy)
    return soft
