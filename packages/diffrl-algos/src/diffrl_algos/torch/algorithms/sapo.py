"""Soft Analytic Policy Optimization (Xing et al. 2024)

SHAC's window of gradients with entropy in the objective. Xing, Luk & Oh, Stabilizing Reinforcement Learning in
Differentiable Simulation of Deformables, 2024: Algorithm 1, Eq. 8-10 and 21, the design choices of Appendix B.1, and
the encoders of B.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from ..._configs.sapo import SAPOConfig
from .._account import Clock, Learned
from .._critic import Critic, ValueFunction, over_critics
from .._encoder import Encoder
from .._learner import ValueLearner
from .._networks import feature_critic, gaussian_actor, value_critic
from .._observations import layout_of
from .._policy import GaussianActor
from .._return_scale import ReturnScale
from .._run_state import TargetState
from .._schedules import linear
from .._temperature import TemperatureState, adapted, first_temperature


@dataclass(frozen=True)
class SAPOState(TargetState, TemperatureState):
    """The state of a SAPO run."""

    episodic: ClassVar[tuple[str, ...]] = ("returns.running",)

    returns: ReturnScale
    """Scale of the returns, for ``normalize_return``; it is not updated without."""


@dataclass(frozen=True)
class SAPO(ValueLearner[SAPOConfig, SAPOState]):
    """Soft Analytic Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes one step up the gradient of the
    discounted rewards and entropies plus the critics' soft value of the last observation (Eq. 8 and 9), moves the
    temperature (Eq. 21), and fits the critics to soft TD(lambda) targets (Eq. 10). An update whose gradient is not
    finite changes no parameter; it is counted.
    """

    config: SAPOConfig = field(default_factory=SAPOConfig)
    name: ClassVar[str] = "sapo"
    state_type = SAPOState
    processes: ClassVar[bool] = True
    flattens: ClassVar[bool] = True

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        fields = super().first(env, obs, generator) | first_temperature(self.config, obs)
        return fields | {"returns": ReturnScale.init(env.num_envs, obs.device)}

    def learn(self, state: SAPOState, generator: torch.Generator, clock: Clock) -> Learned:
        c, env = self.config, state.env
        temperature = state.log_temperature.exp()[0]

        # The window and its value with entropy (Eq. 8 and 9, with h^ of Algorithm 1).
        actor, normalize, window = self.explore(state, generator)
        steps = window.trajectory
        entropy = -window.policy.squashed_log_prob(window.u)
        target_entropy = -env.spec.num_actions * self._target_entropy(state)
        bonus = (entropy - target_entropy) / (-2.0 * target_entropy) if c.normalize_entropy else entropy
        returns, reward = state.returns, steps.reward
        if c.normalize_return:
            returns = returns.update(reward, steps.done, c.gamma)
            reward = reward / returns.unit(reward.dtype)
        soft = gradest.soft_reward(reward, bonus, temperature=temperature)
        values = self.critic(env)(state.target, self._features(env, state.actor, normalize(steps.final_obs)))
        loss = -gradest.segment_objective(
            soft if c.actor_entropy else reward, over_critics(values, c.actor_value), *window.ends, gamma=c.gamma
        )
        clock.lap("rollout_s")

        # The critics' targets (Eq. 10). Compiled code fits them beside the backward pass, if their inputs are known.
        reward = (soft if c.soft_value else reward).detach()
        value_next = over_critics(values.detach(), c.target_value)
        target_value = gradest.td_lambda(reward, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next)
        obs = normalize(steps.obs.detach())
        waits = self._shared_encoder(env) is not None
        finish = None if waits else self.begin_fit(state, obs, target_value, generator)

        # One step of the actor, and of the temperature towards the target entropy (Eq. 21).
        changes, metrics = self.descend(state, loss, actor, window)
        log_temperature, temperature_adam = adapted(
            c, state.log_temperature, state.temperature_adam, entropy.detach().mean(), target_entropy
        )
        changes |= {"log_temperature": log_temperature, "temperature_adam": temperature_adam, "returns": returns}
        clock.lap("backward_s")

        # The critics.
        x = self._features(env, changes["actor"], obs)
        fitted, critic_loss = finish() if finish else self.fit(state, x, target_value, generator)
        metrics |= {
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "value_spread": (values.amax(0) - values.amin(0)).mean(),
            "entropy": entropy.mean(),
            "temperature": temperature,
            **({"return_unit": returns.unit(loss.dtype)} if c.normalize_return else {}),
        }
        clock.lap("critic_s")
        return self.learned(
            state, window, changes | fitted, metrics, metrics["grad_norm"], log_temperature, target_value, x
        )

    def value(self, state: SAPOState) -> ValueFunction:
        """The critics' mean soft value of observations, for viewers."""
        return replace(super().value(state), features=lambda x: self._features(state.env, state.actor, x))

    def actor(self, env: Env) -> GaussianActor:
        return gaussian_actor(self.config, env, self._encoder(env))

    def critic(self, env: Env) -> Critic:
        c, shared = self.config, self._shared_encoder(env)
        if shared is not None:
            return feature_critic(c, shared, c.num_critics)
        return value_critic(c, env, c.num_critics, self._encoder(env))

    def gains(self) -> tuple[float | None, float | None]:
        return self.config.init_gain if self.config.actor_init == "orthogonal" else None, self.config.init_gain

    def _target_entropy(self, state: SAPOState) -> float:
        """Minus the target entropy of each action in the next update [nat]."""
        c = self.config
        return linear(c, c.target_entropy, c.target_entropy_growth * c.target_entropy, state)

    def _encoder(self, env: Env) -> Encoder | None:
        c, layout = self.config, layout_of(env)
        if layout is None or not layout.clouds:
            return None
        return Encoder(layout, c.encoder_vector, c.encoder_points, c.encoder_latent, c.encoder_pool)

    def _shared_encoder(self, env: Env) -> Encoder | None:
        """The actor's encoder, if the critics use it."""
        return self._encoder(env) if self.config.share_encoder else None

    def _features(self, env: Env, actor: Tensor, x: Tensor) -> Tensor:
        """The critics' input for normalised observations ``x``; no gradient reaches the actor's parameters."""
        encoder = self._shared_encoder(env)
        if encoder is None:
            return x
        return encoder(encoder.split(actor.detach()[: encoder.num_params]), x)


ALGORITHM = SAPO
