"""Plain policy gradients: one window, one step of Adam up an estimate of the gradient, one fit of the critic.

What LR, RP, LR+RP and policy enhancement share (Son et al. 2023, 7.4.1); each has its estimate in a file of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState

from .._algorithm import Metrics
from .._configs import OnPolicyConfig
from . import _on_policy as on_policy
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import ValueFunction
from ._episodes import Episodes
from ._normalize import RunningStats
from ._on_policy import Window
from ._policy import GaussianPolicy
from ._schedules import learning_rate
from ._state import from_arrays, to_arrays


class PolicyGradientState(NamedTuple):
    """All that a run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critic, whose values are in units of ``value_stats``."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target critic, which is what values are taken from."""
    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1."""
    stats: RunningStats
    """Statistics of all observations before the next window; frozen while a window is rolled out."""
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, what the policy sees next."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    iteration: int
    env_steps: int
    refused: int
    """Updates refused because something in them was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class PolicyGradient(ABC):
    """An algorithm that is its estimate of the policy gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes one Adam step up the estimate, fits the
    critic to TD(lambda) targets and moves the target critic towards it. An update that is not finite changes no
    parameter; it is counted.
    """

    config: OnPolicyConfig
    name: str
    gradients: ClassVar[bool] = True
    """Whether it learns through the environment's gradients."""

    @abstractmethod
    def _estimate(self, window: Window, actor: Tensor, state: PolicyGradientState) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of what is to be maximised by the flat parameters ``actor``, and figures to log."""

    def init(self, env: Env, seed: int) -> PolicyGradientState:
        """The state before the first update.

        Raises:
            ValueError: gradients are needed and the environment is not differentiable, or its observation is no
                tensor ``[N, no]``.
        """
        fields = on_policy.first_fields(self.config, env, seed, self.name.upper(), gradients=self.gradients)
        return PolicyGradientState(actor_adam=Adam.init(fields["actor"]), **fields)

    def update(self, state: PolicyGradientState) -> tuple[PolicyGradientState, Metrics]:
        """One window, one step of the actor, ``critic_iterations`` passes of the critic."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: PolicyGradientState) -> tuple[PolicyGradientState, Metrics]:
        c, clock, generator = self.config, training.Clock(), training.generator_of(state)
        actor_lr, critic_lr = (learning_rate(c, start, state.iteration) for start in (c.actor_lr, c.critic_lr))
        actor = state.actor.detach().requires_grad_()
        with torch.set_grad_enabled(self.gradients):
            window = self._collect(state, actor, generator)
        clock.lap("rollout_s")

        gradient, figures = self._estimate(window, actor, state)
        optimizer = Optimizer(c.betas, c.max_grad_norm)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, -gradient, actor_lr)
        clock.lap("backward_s")

        learned, critic_loss = on_policy.fit_values(c, state, window, critic_lr, generator)
        learned |= {"actor": improved, "actor_adam": actor_adam}
        new = on_policy.finish(state, learned, window, generator, grad_norm)
        clock.lap("critic_s")
        figures |= {
            "critic_loss": critic_loss,
            "grad_norm": grad_norm,
            "lost_gradients": window.noisy.lost_gradients(),
            "value_mean": window.target_value.mean(),
            "std_mean": window.policy.logstd.exp().mean(),
        }
        return new, training.report(new, window.trajectory, figures, clock, actor_lr=actor_lr)

    def _collect(self, state: PolicyGradientState, actor: Tensor, generator: torch.Generator) -> Window:
        return on_policy.collect(self.config, state, actor, generator)

    def policy(self, state: PolicyGradientState, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now."""
        return on_policy.gaussian_policy(self.config, state, deterministic=deterministic, seed=seed)

    def value(self, state: PolicyGradientState) -> ValueFunction:
        """The critic's value of observations, for viewers."""
        return on_policy.value_function(self.config, state)

    def to_arrays(self, state: PolicyGradientState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: PolicyGradientState, arrays: Mapping[str, np.ndarray]) -> PolicyGradientState:
        return from_arrays(state, arrays)
