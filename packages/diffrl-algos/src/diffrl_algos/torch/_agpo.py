"""Adaptive-Gradient Policy Optimization: simulated rewards as far as their gradient can be trusted, then a Q function.

Gao et al., Adaptive-Gradient Policy Optimization: Enhancing Policy Learning in Non-Smooth Differentiable Simulations,
ICML 2024: Algorithm 1, Eq. 1-4, Appendix B and Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import AGPOConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic, fit_critic
from ._episodes import Episodes
from ._judge import Judge
from ._learner import CriticLearner, spread_actor
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, NoisyPolicy
from ._schedules import learning_rate


class AGPOState(NamedTuple):
    """All that an AGPO run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    previous: Tensor
    """Flat parameters of the actor one update ago, which the divergence is measured from."""
    critic: Tensor
    """Flat parameters of the Q functions, one after another."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target Q functions, which all values are taken from."""
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
class AGPO(CriticLearner[AGPOConfig, AGPOState]):
    """Adaptive-Gradient Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps and finds, for each of them, how the simulator's
    gradient and the Q function's are to be mixed (Eq. 1-3; ``ratio``); it takes one Adam step up the objective that
    mixes them so (Eq. 4), and fits the Q functions to their targets. An update whose gradient is not finite changes no
    parameter; it is counted.
    """

    config: AGPOConfig = field(default_factory=AGPOConfig)
    name: str = field(default="agpo", init=False)

    def init(self, env: Env, seed: int) -> AGPOState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, has only one world to take variances over, or its
                observation is no tensor ``[N, no]``.
        """
        c = self.config
        if env.num_envs < 2 and c.ratio != "fixed":
            raise ValueError(f"num_envs is {env.num_envs}; AGPO takes variances over at least 2 worlds, or ratio=fixed")
        env_state, obs = training.begin(env, seed, "AGPO", window=self.config.horizon)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        nets = self._networks(env)
        actor = nets.actor.init(generator, logstd=c.logstd_init).to(obs)
        if c.state_dependent_std:
            # The last parameters are the biases of log sigma.
            actor[-env.spec.num_actions :] += c.logstd_init
        critic = nets.critic.init(generator, gain=1.0).to(obs)
        return AGPOState(
            actor=actor,
            actor_adam=Adam.init(actor),
            previous=actor.clone(),
            critic=critic,
            critic_adam=Adam.init(critic),
            target=critic.clone(),
            **training.first_fields(env, env_state, obs, generator),
        )

    def _update(self, state: AGPOState) -> tuple[AGPOState, Metrics]:
        c, env, nets, clock = self.config, state.env, self._networks(state.env), training.Clock()
        generator = training.generator_of(state)
        actor_lr, critic_lr = (learning_rate(c, start, state.iteration) for start in (c.actor_lr, c.critic_lr))
        shift, scale = training.normalizer(c, state)

        # The window, judged step by step.
        actor = state.actor.detach().requires_grad_()
        eps = training.normal(generator, state.obs, 2, c.horizon, env.num_envs, env.spec.num_actions)
        noisy = NoisyPolicy(nets.actor, actor, shift, scale, eps[0])
        judge = Judge(env)
        window, env_state, obs = rollout(judge, noisy, state.env_state, state.obs, c.horizon)
        seen, final = (torch.addcmul(shift, part, scale) for part in (window.obs, window.final_obs))
        mean, logstd = nets.actor(nets.actor.split(actor), final)
        following = torch.tanh(mean + eps[1] * logstd.exp())
        q, q_next = (
            nets.critic(state.target, torch.cat(part, dim=-1)).amin(0)
            for part in ((seen, window.action), (final, following))
        )
        alpha = judge.ratio(window, q, q_next, c)
        x = seen.detach()
        options: dict[str, Any] = {"gamma": c.gamma, "threshold": c.threshold, "truncation": c.truncation}
        credit = gradest.credit_weights(alpha, window.terminated, window.done, **options)
        judge.open(credit.link)
        objective = gradest.credit_mean(credit, c.reward_scale * window.reward, q, q_next)
        entropy, kl = self._regularisers(nets.actor, actor, state.previous, x, eps[0])
        held = c.kl_coef * kl if c.kl_reference == "previous" else 0.0
        # The Q functions need spread to learn from; the simulator does not.
        weight = c.entropy_coef * (c.entropy_floor + (1.0 - c.entropy_floor) * (1.0 - alpha))
        loss = -(objective + (weight * entropy).mean() - held)
        clock.lap("rollout_s")

        # One step of the actor.
        (grad,) = torch.autograd.grad(loss, actor)
        optimizer = Optimizer(c.betas, c.max_grad_norm)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, grad, actor_lr)
        clock.lap("backward_s")

        # The Q functions, and their moving average after them.
        target_value = gradest.td_lambda(
            c.reward_scale * window.reward.detach(),
            q_next.detach(),
            window.terminated,
            window.done,
            gamma=c.gamma,
            lam=c.lam,
        )
        inputs = torch.cat([x, window.action.detach()], dim=-1).flatten(0, 1)
        fitted, critic_adam, critic_loss = fit_critic(
            nets.critic,
            state.critic,
            state.critic_adam,
            inputs,
            target_value.flatten(),
            config=c,
            optimizer=Optimizer(c.betas, c.critic_max_grad_norm),
            lr=critic_lr,
            generator=generator,
        )
        learned = {
            "actor": improved,
            "actor_adam": actor_adam,
            "previous": state.actor,
            "critic": fitted,
            "critic_adam": critic_adam,
            "target": torch.lerp(fitted, state.target, c.target_alpha),
        }
        accepted = training.all_finite(grad_norm, improved, target_value, fitted, inputs)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("critic_s")
        figures = {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "grad_norm": grad_norm,
            "lost_gradients": noisy.lost_gradients(),
            "value_mean": target_value.mean(),
            "std_mean": noisy.gaussian().logstd.exp().mean(),
            "entropy": entropy.mean(),
            "kl": kl,
            # What to watch: how many simulated rewards count, seen from a step on.
            "alpha_mean": alpha.mean(),
            "beta_mean": credit.beta.mean(),
            "effective_horizon": gradest.effective_horizon(
                alpha, window.done, threshold=c.threshold, truncation=c.truncation
            ),
        }
        return new, training.report(new, window, figures, clock, actor_lr=actor_lr)

    def _regularisers(
        self, actor: GaussianActor, flat: Tensor, previous: Tensor, x: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Entropy of the actions of each step ``[T]``, and mean divergence from ``previous``, at ``x [T, N, no]``."""
        policy = actor(actor.split(flat), x)
        u = policy.mean + eps * policy.logstd.exp()
        return -policy.squashed_log_prob(u).mean(-1), policy.kl(actor(actor.split(previous), x)).mean()

    def _actor(self, env: Env) -> GaussianActor:
        return spread_actor(self.config, env)

    def _critic(self, env: Env) -> Critic:
        sizes = (env.spec.num_obs + env.spec.num_actions, *self.config.critic_hidden, 1)
        return Critic(MLP(sizes, self.config.activation), self.config.num_critics)
