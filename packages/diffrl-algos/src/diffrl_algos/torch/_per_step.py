"""What IVW-H and DDCG share: in every control step, two action gradients of each world, mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from .._configs.per_step import PerStepConfig
from ._distributions import Gaussian
from ._mixed_graph import MixedGraph
from ._on_policy import Advantages, OnPolicyState
from ._policy_gradient import PolicyGradient
from ._two_orders import first_order, zeroth_weight
from ._window import Window

ConfigT = TypeVar("ConfigT", bound=PerStepConfig)


class Samples(NamedTuple):
    """What a mixture is made of besides the gradient through the simulator, of a window or of one of its steps."""

    zeroth: Tensor
    """Likelihood-ratio gradients by means and log deviations, ``[..., 2 na]``."""
    residual: Tensor
    """One-step advantages, ``r + gamma V(s') - V(s)``, weighted as the objective weighs what follows the step."""
    eps: Tensor
    """Noise of the actions, ``[..., na]``."""
    std: Tensor
    """Their deviation, ``[..., na]``."""
    taken: Tensor
    """bool: steps that were taken."""

    def step(self, t: int) -> Samples:
        return Samples(*(part[t] for part in self))


@dataclass(frozen=True)
class PerStepLearner(PolicyGradient[ConfigT]):
    """An algorithm that mixes the simulator's gradient of every action with the likelihood-ratio gradient.

    Gradients of single worlds and steps are those of the sum over worlds and steps whose mean is SHAC's objective.
    """

    push: ClassVar[bool] = True

    def check(self, env: Env) -> None:
        self.config.check_worlds(env.num_envs, type(self).__name__)
        super().check(env)

    def trusted(self, by_noise: Tensor, samples: Samples, valid: Tensor) -> Tensor | None:
        """Steps whose first-order gradients count at all, ``[T]`` (a scalar for one step); None for all.

        Args:
            by_noise: first-order gradients by the noise of the actions, ``[T, N, na]``.
            samples: the others.
            valid: bool ``[T, N]``, worlds with both gradients.
        """
        return None

    def options(self, state: OnPolicyState) -> dict[str, Any]:
        options = super().options(state)
        if self.config.through_time:
            # Compiled code goes back through a whole window without a place to mix in.
            options |= {"links": MixedGraph(), "policy_step": "torch"}
        return options

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        samples, count = self.samples(window, values, state), window.lost.numel()
        if isinstance(window.links, MixedGraph):
            # The gradient that reaches an action is then that of mixtures at all later steps.
            window.links.open(lambda t, g, blocked: self.mix(count * g, blocked, samples.step(t)).gradient / count)
        _, by_action, blocked, metrics = first_order(window, values, self.config.gamma)
        mixture = self.mix(count * by_action, blocked, samples)
        alone = (mixture.alpha if mixture.alpha.dim() == 1 else mixture.alpha.amax(-1)) == 0.0
        metrics |= {
            # What to watch. A variance may be beyond all others in one step, so the median tells more than the mean.
            "alpha_mean": mixture.alpha.mean(),
            "first_variance": mixture.variance_first.median(),
            "zeroth_variance": mixture.variance_zeroth.median(),
            "switched": alone.to(by_action.dtype).mean(),
            "worlds_mixed": mixture.used.to(by_action.dtype).mean(),
        }
        pull = _pull(mixture.gradient.flatten(0, 1) / count)
        return self.actor(state.env).gradient(actor.detach(), values.x.flatten(0, 1), pull)[1], metrics

    def samples(self, window: Window, values: Advantages, state: OnPolicyState) -> Samples:
        """What the mixtures of a window are made of."""
        c = self.config
        weight = zeroth_weight(window, values.advantage, c.gamma, c.discount_advantages)[..., None]
        std = window.policy.logstd.detach().exp().broadcast_to(window.eps.shape)
        zeroth = torch.cat([weight * window.eps / std, weight * (window.eps**2 - 1.0)], dim=-1)
        return Samples(zeroth, self.residual(window, values), window.eps, std, values.taken)

    def residual(self, window: Window, values: Advantages) -> Tensor:
        """One-step advantages ``[T, N]``, weighted as SHAC's objective weighs what follows a step."""
        c, steps = self.config, window.trajectory
        residual = gradest.gae(steps.reward, values.value, values.value_next, *window.ends, gamma=c.gamma, lam=0.0)
        return zeroth_weight(window, torch.where(steps.valid, residual, 0.0), c.gamma, discount=True)

    def mix(self, by_action: Tensor, blocked: Tensor, samples: Samples) -> gradest.StepMixture:
        """The mixtures of all steps, or of one.

        Args:
            by_action: first-order gradients by the actions before tanh, ``[..., N, na]``.
            blocked: bool ``[..., N]``, where they are not finite.
            samples: the others.
        """
        c = self.config
        first = torch.cat([by_action, by_action * samples.std * samples.eps], dim=-1)
        if c.fixed_weight is not None:
            mixed = gradest.mix_gradients(first, samples.zeroth, c.fixed_weight)
            alpha = torch.full_like(first[..., 0, 0], c.fixed_weight)
            return gradest.StepMixture(mixed, alpha, *2 * [torch.zeros_like(alpha)], ~blocked)
        trusted = self.trusted(by_action * samples.std, samples, samples.taken & ~blocked)
        return gradest.per_step_mixture(
            torch.where(blocked[..., None], torch.inf, first),
            samples.zeroth,
            samples.taken,
            trusted,
            variance=c.variance,
            nonfinite=c.nonfinite,
            outliers=c.outliers,
        )


def _pull(gradient: Tensor) -> Callable[[Gaussian], tuple[Tensor, Tensor, Tensor]]:
    """A loss whose gradients by means and log deviations are ``gradient [B, 2 na]``."""

    def pull(policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        by_mean, by_logstd = gradient.chunk(2, dim=-1)
        return gradient.new_zeros(()), by_mean.contiguous(), by_logstd

    return pull
