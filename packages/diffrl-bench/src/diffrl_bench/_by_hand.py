"""Expressions written by hand, as in a notebook: ``bench estimators`` compares gradest with them.

``xp`` is ``numpy``, ``torch`` or ``jax.numpy``; no argument is checked. Loops over time are the framework's usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Array = Any


def _loop(xp: Any, a: Array, b: Array, x: Array) -> Array:
    """``x_t = b_t + a_t x_{t+1}`` from the last row to the first."""
    if xp.__name__ == "jax.numpy":
        from jax import lax

        def step(x: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            x = row[1] + row[0] * x
            return x, x

        return lax.scan(step, x, (a, b), reverse=True)[1]
    if xp.__name__ == "torch":
        rows = [x] * len(b)
        for t in range(len(b) - 1, -1, -1):
            x = rows[t] = b[t] + a[t] * x
        return xp.stack(rows)
    out = xp.empty_like(b)
    for t in range(len(b) - 1, -1, -1):
        x = out[t] = b[t] + a[t] * x
    return out


def discounted_returns(xp: Any, reward: Array, done: Array) -> Array:
    return _loop(xp, 0.99 * (1.0 - done), reward, 0.0 * reward[0])


def td_lambda(xp: Any, reward: Array, value_next: Array, terminated: Array, done: Array) -> Array:
    alive, goes_on = 1.0 - terminated, 1.0 - done
    last = value_next[-1] * alive[-1]
    b = reward + 0.99 * alive * (1.0 - 0.95 * goes_on) * value_next
    return _loop(xp, 0.99 * 0.95 * goes_on, b, last)


def gae(xp: Any, reward: Array, value: Array, value_next: Array, terminated: Array, done: Array) -> Array:
    delta = reward + 0.99 * (1.0 - terminated) * value_next - value
    return _loop(xp, 0.99 * 0.95 * (1.0 - done), delta, 0.0 * reward[0])


def n_step_returns(xp: Any, reward: Array, value_next: Array, terminated: Array, done: Array) -> Array:
    """Five-step returns, as the one-step return extended four times."""
    one = reward + 0.99 * (1.0 - terminated) * value_next
    goes_on = xp.concatenate([1.0 - done[:-1], 0.0 * done[-1:]])
    G = one
    for _ in range(4):
        G = goes_on * (reward + 0.99 * xp.concatenate([G[1:], G[-1:]])) + (1.0 - goes_on) * one
    return G


def soft_reward(xp: Any, reward: Array, entropy: Array) -> Array:
    return reward + 0.2 * entropy


def likelihood_ratio_objective(xp: Any, log_prob: Array, advantage: Array) -> Array:
    return (log_prob * advantage).mean()


def clipped_surrogate(xp: Any, log_prob: Array, log_prob_old: Array, advantage: Array) -> Array:
    ratio = xp.exp(log_prob - log_prob_old)
    return xp.minimum(ratio * advantage, xp.clip(ratio, 0.8, 1.2) * advantage).mean()


def virtual_log_prob(xp: Any, log_prob_old: Array, log_prob_alpha: Array) -> Array:
    return xp.logaddexp(log_prob_old, log_prob_alpha) - math.log(2)


def additional_return(xp: Any, log_prob: Array, log_prob_old: Array, advantage: Array) -> Array:
    ratio = xp.exp(xp.clip(log_prob - log_prob_old, -math.inf, 16.0))
    return ((ratio - 1) * advantage).mean()


def out_of_range_ratio(xp: Any, log_prob: Array, log_prob_old: Array) -> Array:
    outside = xp.abs(xp.exp(log_prob - log_prob_old) - 1) > 0.2
    return (1.0 * outside).mean()


def empirical_variance(xp: Any, gradients: Array) -> Array:
    return ((gradients - gradients.mean(0)) ** 2).sum() / (len(gradients) - 1)


def inverse_variance_gradient(xp: Any, first: Array, zeroth: Array) -> Array:
    v1, v0 = empirical_variance(xp, first), empirical_variance(xp, zeroth)
    alpha = v0 / (v0 + v1)
    return alpha * first.mean(0) + (1 - alpha) * zeroth.mean(0)


def mix_gradients(xp: Any, first: Array, zeroth: Array) -> Array:
    return 0.3 * first + 0.7 * zeroth


def alpha_policy_loss(xp: Any, action: Array, target: Array) -> Array:
    return ((action - target) ** 2).sum(-1).mean()


def gaussian_determinant(xp: Any, std: Array, std_old: Array) -> Array:
    return xp.exp((xp.log(std) - xp.log(std_old)).sum(-1))


def clip_max_norm(xp: Any, gradients: Array) -> Array:
    norm = xp.sqrt((gradients**2).sum(-1))
    scale = xp.clip(20.0 / norm, 0.0, 1.0)
    return xp.where(xp.isfinite(norm)[:, None], gradients * scale[:, None], 0.0 * gradients)


def cosine_similarity(xp: Any, a: Array, b: Array) -> Array:
    """Scaled first, because the squares of gradients through many steps overflow in single precision."""
    a, b = a / _top(xp, a), b / _top(xp, b)
    return (a * b).sum(-1) / xp.sqrt((a * a).sum(-1)) / xp.sqrt((b * b).sum(-1))


def _top(xp: Any, x: Array) -> Array:
    return xp.amax(xp.abs(x), -1)[:, None]


def signal_to_noise(xp: Any, gradients: Array) -> Array:
    return (gradients.mean(0) ** 2).sum() / empirical_variance(xp, gradients)


BY_HAND: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        discounted_returns,
        td_lambda,
        gae,
        n_step_returns,
        soft_reward,
        likelihood_ratio_objective,
        clipped_surrogate,
        virtual_log_prob,
        additional_return,
        out_of_range_ratio,
        empirical_variance,
        inverse_variance_gradient,
        mix_gradients,
        alpha_policy_loss,
        gaussian_determinant,
        clip_max_norm,
        cosine_similarity,
        signal_to_noise,
    )
}
