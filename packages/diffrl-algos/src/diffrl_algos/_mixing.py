"""IVW-H's and DDCG's mixture of two action gradients, for torch and JAX (Onoda et al. 2026).

Gradients of single worlds and steps are those of the sum over worlds and steps whose mean is SHAC's objective.
``xp`` is the framework's namespace, ``torch`` or ``jax.numpy``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gradest

from ._configs.ddcg import DDCGConfig
from ._configs.per_step import PerStepConfig

Array = Any


class Samples(NamedTuple):
    """What a mixture is made of besides the gradient through the simulator, of a window or of one of its steps."""

    zeroth: Array
    """Likelihood-ratio gradients by means and log deviations, ``[..., 2 na]``."""
    residual: Array
    """One-step advantages ``r + gamma V(s') - V(s)``, weighted as SHAC's objective weighs what follows the step."""
    eps: Array
    """Noise of the actions, ``[..., na]``."""
    std: Array
    """Their deviation, ``[..., na]``."""
    taken: Array
    """bool: steps that were taken."""

    @classmethod
    def of(cls, xp: Any, weight: Array, residual: Array, eps: Array, std: Array, taken: Array) -> Samples:
        """With ``weight`` of the scores, ``[T, N]``."""
        weight = weight[..., None]
        zeroth = xp.concatenate([weight * eps / std, weight * (eps**2 - 1.0)], axis=-1)
        return cls(zeroth, residual, eps, std, taken)

    def step(self, t: int) -> Samples:
        return Samples(*(part[t] for part in self))


def mix(xp: Any, config: PerStepConfig, by_action: Array, blocked: Array, samples: Samples) -> gradest.StepMixture:
    """The mixtures of all steps, or of one.

    Args:
        xp: see above.
        config: how to mix.
        by_action: first-order gradients by the actions before tanh, ``[..., N, na]``.
        blocked: bool ``[..., N]``, where they are not finite.
        samples: the others.
    """
    c = config
    first = xp.concatenate([by_action, by_action * samples.std * samples.eps], axis=-1)
    if c.fixed_weight is not None:
        mixed = gradest.mix_gradients(first, samples.zeroth, c.fixed_weight)
        alpha = xp.full_like(first[..., 0, 0], c.fixed_weight)
        return gradest.StepMixture(mixed, alpha, xp.zeros_like(alpha), xp.zeros_like(alpha), ~blocked)
    return gradest.per_step_mixture(
        xp.where(blocked[..., None], math.inf, first),
        samples.zeroth,
        samples.taken,
        trusted(xp, c, by_action * samples.std, samples, samples.taken & ~blocked),
        variance=c.variance,
        nonfinite=c.nonfinite,
        outliers=c.outliers,
    )


def trusted(xp: Any, config: PerStepConfig, by_noise: Array, samples: Samples, valid: Array) -> Array | None:
    """Steps whose first-order gradients count at all, ``[T]`` (a scalar array for one step); None for all: IVW-H.

    Args:
        xp: see above.
        config: DDCG's has a test.
        by_noise: first-order gradients by the noise of the actions, ``[T, N, na]`` or ``[N, na]``.
        samples: the others.
        valid: bool ``[T, N]`` or ``[N]``, worlds with both gradients.
    """
    if not isinstance(config, DDCGConfig):
        return None
    options: dict[str, Any] = {"slack": config.slack, "order": config.test}
    if config.scope == "step":
        return gradest.smoothness_test(by_noise, samples.residual, valid, **options).smooth
    # A window's value is the sum of its weighted one-step advantages, and depends on all noise in it.
    steps, worlds, _ = by_noise.shape
    whole = xp.reshape(xp.swapaxes(by_noise, 0, 1), (worlds, -1))
    test = gradest.smoothness_test(whole, samples.residual.sum(0), valid.all(0), **options)
    return xp.broadcast_to(test.smooth, (steps,))


def compares(config: PerStepConfig) -> bool:
    """Whether values are compared with those of a second roll-out, without noise."""
    return isinstance(config, DDCGConfig) and config.scope == "window" and config.fixed_weight is None


def figures(xp: Any, mixture: gradest.StepMixture) -> dict[str, Array]:
    """Metrics of the mixtures of a window."""
    alpha = mixture.alpha
    alone = alpha == 0.0 if alpha.ndim == 1 else (alpha == 0.0).all(-1)
    dtype = mixture.gradient.dtype
    return {
        "alpha_mean": alpha.mean(),
        # A variance may be beyond all others in one step, so the median tells more than the mean.
        "first_variance": xp.quantile(mixture.variance_first, 0.5),
        "zeroth_variance": xp.quantile(mixture.variance_zeroth, 0.5),
        "switched": xp.where(alone, 1.0, 0.0).mean(dtype=dtype),
        "worlds_mixed": xp.where(mixture.used, 1.0, 0.0).mean(dtype=dtype),
    }
