"""Soft Analytic Policy Optimization: SHAC's window of gradients, with entropy in what is maximised.

Xing, Luk & Oh, Stabilizing Reinforcement Learning in Differentiable Simulation of Deformables, 2024: Algorithm 1,
Eq. 8-10 and 21, the design choices of Appendix B.1, and the encoders of B.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import SAPOConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic, ValueFunction, fit_critic
from ._encoder import EncodedMLP, Encoder
from ._episodes import Episodes
from ._learner import ValueLearner, spread_actor
from ._mlp import MLP
from ._normalize import RunningStats
from ._observations import flat, layout_of
from ._policy import GaussianActor, NoisyPolicy
from ._return_scale import ReturnScale
from ._schedules import learning_rate, linear


class SAPOState(NamedTuple):
    """All that a SAPO run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critics, one after another."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters that values are taken from: the critics themselves where ``target_alpha`` is 0."""
    log_temperature: Tensor
    """``[1]``."""
    temperature_adam: Adam
    returns: ReturnScale
    """How large returns are, for ``normalize_return``."""
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
    """Updates refused because a gradient or a value target was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class SAPO(ValueLearner[SAPOConfig, SAPOState]):
    """Soft Analytic Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes one step up the gradient of the
    discounted rewards and entropies plus the critics' soft value of what follows (Eq. 8 and 9), moves the temperature
    (Eq. 21), and fits the critics to soft TD(lambda) targets (Eq. 10). An update whose gradient is not finite changes
    no parameter; it is counted.
    """

    config: SAPOConfig = field(default_factory=SAPOConfig)
    name: str = field(default="sapo", init=False)

    def init(self, env: Env, seed: int) -> SAPOState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is neither a tensor ``[N, no]`` nor a
                mapping of vectors and point clouds.
        """
        c, env = self.config, flat(env)
        env_state, obs = training.begin(env, seed, "SAPO", window=self.config.horizon, processes=True)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        nets = self._networks(env)
        gain = c.init_gain if c.actor_init == "orthogonal" else None
        actor = nets.actor.init(generator, logstd=c.logstd_init, gain=gain).to(obs)
        critic = nets.critic.init(generator, gain=c.init_gain).to(obs)
        log_temperature = torch.full((1,), c.temperature_init).log().to(obs)
        return SAPOState(
            actor=actor,
            actor_adam=Adam.init(actor),
            critic=critic,
            critic_adam=Adam.init(critic),
            target=critic.clone(),
            log_temperature=log_temperature,
            temperature_adam=Adam.init(log_temperature),
            returns=ReturnScale.init(env.num_envs, obs.device),
            **training.first_fields(env, env_state, obs, generator),
        )

    def _update(self, state: SAPOState) -> tuple[SAPOState, Metrics]:
        c, env, nets, clock = self.config, state.env, self._networks(state.env), training.Clock()
        generator, optimizer = training.generator_of(state), Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
        actor_lr, critic_lr = (learning_rate(c, start, state.iteration) for start in (c.actor_lr, c.critic_lr))
        shift, scale = training.normalizer(c, state)
        temperature = state.log_temperature.exp()

        # The window, and what it is worth with its entropy (Eq. 8 and 9, with h^ of Algorithm 1).
        actor = state.actor.detach().requires_grad_()
        eps = training.normal(generator, state.obs, c.horizon, env.num_envs, env.spec.num_actions)
        noisy = NoisyPolicy(nets.actor, actor, shift, scale, eps)
        window, env_state, obs = rollout(env, noisy, state.env_state, state.obs, c.horizon)
        entropy = -noisy.gaussian().squashed_log_prob(noisy.samples())
        target_entropy = -env.spec.num_actions * self._target_entropy(state.iteration)
        bonus = (entropy - target_entropy) / (-2.0 * target_entropy) if c.normalize_entropy else entropy
        returns = state.returns.update(window.reward, window.done, c.gamma)
        plain = window.reward / returns.unit(window.reward.dtype) if c.normalize_return else window.reward
        soft = gradest.soft_reward(plain, bonus, temperature=float(temperature))
        values = nets.critic(
            state.target, self._features(env, state.actor, torch.addcmul(shift, window.final_obs, scale))
        )
        ends = (window.terminated, window.done)
        reward = soft if c.actor_entropy else plain
        loss = -gradest.segment_objective(reward, _over_critics(values, c.actor_value), *ends, gamma=c.gamma)
        clock.lap("rollout_s")

        # One step of the actor, and of the temperature towards the target entropy (Eq. 21).
        (grad,) = torch.autograd.grad(loss, actor)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, grad, actor_lr)
        log_temperature, temperature_adam = state.log_temperature, state.temperature_adam
        if c.auto_temperature:
            # d/d(log alpha) of alpha (h - H); it does not decay: the temperature has no natural size.
            slope = temperature * (entropy.detach().mean() - target_entropy)
            log_temperature, temperature_adam, _ = Optimizer(c.betas, c.max_grad_norm).step(
                log_temperature, temperature_adam, slope, c.temperature_lr
            )
        clock.lap("backward_s")

        # The critics (Eq. 10).
        reward = (soft if c.soft_value else plain).detach()
        value_next = _over_critics(values.detach(), c.target_value)
        target_value = gradest.td_lambda(reward, value_next, *ends, gamma=c.gamma, lam=c.lam)
        x = self._features(env, improved, torch.addcmul(shift, window.obs.detach().flatten(0, 1), scale))
        fitted, critic_adam, critic_loss = fit_critic(
            nets.critic,
            state.critic,
            state.critic_adam,
            x,
            target_value.flatten(),
            config=c,
            optimizer=optimizer,
            lr=critic_lr,
            generator=generator,
        )
        learned = {
            "actor": improved,
            "actor_adam": actor_adam,
            "critic": fitted,
            "critic_adam": critic_adam,
            "target": torch.lerp(fitted, state.target, c.target_alpha),
            "log_temperature": log_temperature,
            "temperature_adam": temperature_adam,
            "returns": returns,
        }
        accepted = training.all_finite(grad_norm, improved, log_temperature, target_value, fitted, x)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("critic_s")
        figures = {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "grad_norm": grad_norm,
            "lost_gradients": noisy.lost_gradients(),
            "value_mean": target_value.mean(),
            "value_spread": (values.amax(0) - values.amin(0)).mean(),
            "std_mean": noisy.gaussian().logstd.exp().mean(),
            "entropy": entropy.mean(),
            "temperature": temperature[0],
            "return_unit": returns.unit(loss.dtype),
        }
        return new, training.report(new, window, figures, clock, actor_lr=actor_lr)

    def value(self, state: SAPOState) -> ValueFunction:
        """The critics' mean soft value of observations, for viewers."""
        return replace(super().value(state), features=lambda x: self._features(state.env, state.actor, x))

    def _target_entropy(self, iteration: int) -> float:
        """Minus the target entropy of each action [nat] at update ``iteration``, counted from 0."""
        c = self.config
        return linear(c, c.target_entropy, c.target_entropy_growth * c.target_entropy, iteration)

    def _actor(self, env: Env) -> GaussianActor:
        return spread_actor(self.config, env, self._encoder(env))

    def _critic(self, env: Env) -> Critic:
        c, encoder = self.config, self._encoder(env)
        width = env.spec.num_obs if encoder is None else encoder.width
        mlp = MLP((width, *c.critic_hidden, 1), c.activation)
        return Critic(mlp if encoder is None or c.share_encoder else EncodedMLP(encoder, mlp), c.num_critics)

    def _encoder(self, env: Env) -> Encoder | None:
        c, layout = self.config, layout_of(env)
        if layout is None or not layout.clouds:
            return None
        return Encoder(layout, c.encoder_vector, c.encoder_points, c.encoder_latent, c.encoder_pool)

    def _features(self, env: Env, actor: Tensor, x: Tensor) -> Tensor:
        """What the critics see of normalised observations ``x``; no gradient reaches the actor's parameters."""
        encoder = self._encoder(env)
        if encoder is None or not self.config.share_encoder:
            return x
        return encoder(encoder.split(actor.detach()[: encoder.num_params]), x)


def _over_critics(values: Tensor, how: str) -> Tensor:
    """``[C, T, N] -> [T, N]``."""
    return values.mean(0) if how == "mean" else values.amin(0)
