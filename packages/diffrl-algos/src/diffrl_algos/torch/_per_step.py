"""What IVW-H and DDCG share: in every control step, two action gradients of each world, mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from .._configs.per_step import PerStepConfig
from .._mixing import Samples, compares, figures, mix
from ._distributions import Gaussian
from ._mixed_graph import MixedGraph
from ._on_policy import Advantages, OnPolicyState
from ._policy_gradient import PolicyGradient
from ._two_orders import first_order, zeroth_weight
from ._window import Window

ConfigT = TypeVar("ConfigT", bound=PerStepConfig)


@dataclass(frozen=True)
class PerStepLearner(PolicyGradient[ConfigT]):
    """An algorithm that mixes the simulator's gradient of every action with the likelihood-ratio gradient."""

    push: ClassVar[bool] = True

    def check(self, env: Env) -> None:
        self.config.check_worlds(env.num_envs, type(self).__name__)
        super().check(env)

    @property
    def trials(self) -> int:
        return int(compares(self.config))

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
        pull = _pull(mixture.gradient.flatten(0, 1) / count)
        gradient = self.actor(state.env).gradient(actor.detach(), values.x.flatten(0, 1), pull)[1]
        return gradient, metrics | figures(torch, mixture)

    def mix(self, by_action: Tensor, blocked: Tensor, samples: Samples) -> gradest.StepMixture:
        """The mixtures of all steps, or of one; see ``_mixing.mix``."""
        return mix(torch, self.config, by_action, blocked, samples)

    def samples(self, window: Window, values: Advantages, state: OnPolicyState) -> Samples:
        """What the mixtures of a window are made of."""
        c, residual = self.config, self.residual(window, values)
        if compares(c):
            # Worlds start in states of their own. What these earn without noise is no effect of the noise.
            with torch.no_grad():
                generator = torch.Generator()  # of which nothing is drawn
                _, normalize, calm = self.explore(state, generator, eps=torch.zeros_like(window.eps))
                residual = residual - self.residual(calm, self.advantages(state, calm, normalize))
        weight = zeroth_weight(window, values.advantage, c.gamma, c.discount_advantages)
        std = window.policy.logstd.detach().exp().broadcast_to(window.eps.shape)
        return Samples.of(torch, weight, residual, window.eps, std, values.taken)

    def residual(self, window: Window, values: Advantages) -> Tensor:
        """One-step advantages ``[T, N]``, weighted as SHAC's objective weighs what follows a step."""
        c, steps = self.config, window.trajectory
        residual = gradest.gae(steps.reward, values.value, values.value_next, *window.ends, gamma=c.gamma, lam=0.0)
        return zeroth_weight(window, torch.where(steps.valid, residual, 0.0), c.gamma, discount=True)


def _pull(gradient: Tensor) -> Callable[[Gaussian], tuple[Tensor, Tensor, Tensor]]:
    """A loss whose gradients by means and log deviations are ``gradient [B, 2 na]``."""

    def pull(policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        by_mean, by_logstd = gradient.chunk(2, dim=-1)
        return gradient.new_zeros(()), by_mean.contiguous(), by_logstd

    return pull
