"""Adaptive-Gradient Policy Optimization (Gao et al. 2024)

Simulated rewards as far as their gradient can be trusted, then a Q function. Gao et al., Adaptive-Gradient Policy
Optimization: Enhancing Policy Learning in Non-Smooth Differentiable Simulations, ICML 2024: Algorithm 1, Eq. 1-4,
Appendix B and Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from ..._configs.agpo import AGPOConfig
from ..._outliers import outlier_rule
from .._account import Clock, Learned
from .._credit_graph import CreditGraph
from .._critic import Critic
from .._learner import CriticLearner
from .._networks import q_critic
from .._policy import GaussianActor
from .._run_state import TargetState
from .._window import Window, normal


@dataclass(frozen=True)
class AGPOState(TargetState):
    """The state of an AGPO run."""

    previous: Tensor
    """Flat parameters of the actor one update ago, which the divergence may be measured from."""


@dataclass(frozen=True)
class AGPO(CriticLearner[AGPOConfig, AGPOState]):
    """Adaptive-Gradient Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps and finds, for each of them, how the simulator's
    gradient and the Q function's are to be mixed (Eq. 1-3; ``ratio``). It takes one Adam step along the gradient that
    ``gradest.credit_weights`` describes (Eq. 4 where ``truncation`` is bootstrap, drop or restart), and fits the Q
    functions to their targets. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: AGPOConfig = field(default_factory=AGPOConfig)
    name: ClassVar[str] = "agpo"
    state_type = AGPOState

    def check(self, env: Env) -> None:
        if env.num_envs < 2 and self.config.ratio != "fixed":
            raise ValueError(
                f"num_envs is {env.num_envs}, and AGPO takes variances over worlds; give it at least 2, or ratio=fixed"
            )
        super().check(env)

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        fields = super().first(env, obs, generator)
        return {**fields, "previous": fields["actor"].clone()}

    def learn(self, state: AGPOState, generator: torch.Generator, clock: Clock) -> Learned:
        c, env = self.config, state.env
        network, critic = self.actor(env), self.critic(env)

        # The window, and the ratio of each of its steps.
        eps = normal(generator, state.run.obs, 2, c.horizon, env.num_envs, env.spec.num_actions)
        rule = outlier_rule(c, c.horizon * env.num_envs, torch.where)
        graph = CreditGraph(c.horizon, eps[0, 0], rule)
        actor, normalize, window = self.explore(state, generator, eps=eps[0], links=graph)
        steps = window.trajectory
        obs, final_obs = normalize(steps.obs), normalize(steps.final_obs)
        policy = network(network.split(actor), final_obs)
        next_action = torch.tanh(policy.mean + eps[1] * policy.logstd.exp())
        q, q_next = (
            critic(state.target, torch.cat(part, dim=-1)).amin(0)
            for part in ((obs, steps.action), (final_obs, next_action))
        )
        alpha = self._ratio(window, graph, q, q_next)

        # The objective (Eq. 4). With truncation="every" its gradient counts, not its value.
        x = obs.detach()
        options: dict[str, Any] = {"threshold": c.threshold, "truncation": c.truncation}
        credit = gradest.credit_weights(alpha, *window.ends, gamma=c.gamma, **options)
        graph.open(credit.link)
        objective = gradest.credit_mean(credit, c.reward_scale * steps.reward, q, q_next)
        entropy, kl = self._regularisers(network, actor, state.previous, x, eps[0])
        # Without the test, a divergence that overflows would spoil the gradient by zero times infinity.
        penalty = c.kl_coef * kl if c.kl_coef > 0 and c.kl_reference == "previous" else 0.0
        # The Q functions need actions with spread to learn from; the simulator does not.
        weight = c.entropy_coef * (c.entropy_floor + (1.0 - c.entropy_floor) * (1.0 - alpha))
        loss = -(objective + (weight * entropy).mean() - penalty)
        clock.lap("rollout_s")

        # The Q functions' targets. Compiled code fits them beside the backward pass.
        reward = c.reward_scale * steps.reward.detach()
        target_value = gradest.td_lambda(reward, q_next.detach(), *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, q.detach())
        inputs = torch.cat([x, steps.action.detach()], dim=-1)
        optimizer = replace(self.optimizer, max_norm=c.critic_max_grad_norm)
        finish = self.begin_fit(state, inputs, target_value, generator, optimizer=optimizer)

        # One step of the actor.
        changes, metrics = self.descend(state, loss, actor, window)
        clock.lap("backward_s")

        # The Q functions and their moving average.
        fitted, critic_loss = finish()
        metrics |= {
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "entropy": entropy.mean(),
            "kl": kl,
            # What to watch: how many simulated rewards count, on average over the steps.
            "alpha_mean": alpha.mean(),
            "beta_mean": credit.beta.mean(),
            "effective_horizon": gradest.effective_horizon(alpha, window.ends[1], **options),
        }
        changes |= {"previous": state.actor, **fitted}
        clock.lap("critic_s")
        return self.learned(state, window, changes, metrics, metrics["grad_norm"], target_value, inputs)

    def _ratio(self, window: Window, graph: CreditGraph, q: Tensor, q_next: Tensor) -> Tensor:
        """Mixture ratio ``alpha [T]`` of every step (Eq. 3, or ours), for ``q``, ``q_next`` ``[T, N]``."""
        c, steps = self.config, window.trajectory
        if c.ratio == "fixed":
            return torch.full_like(q[:, 0].detach(), c.fixed_ratio)
        bootstrap = torch.where(steps.terminated, torch.zeros_like(q_next), q_next)
        simulated = (c.reward_scale * steps.reward + c.gamma * bootstrap).sum()
        (first,) = torch.autograd.grad(simulated, graph.action_push, retain_graph=True)
        (zeroth,) = torch.autograd.grad(q.sum(), steps.action, retain_graph=True)
        # Worlds that end with a step are left out: a new episode follows there, or nothing.
        return gradest.adaptive_ratio(
            first,
            zeroth,
            ~steps.done,
            variance=c.variance,
            nonfinite=c.nonfinite,
            tolerance=c.tolerance if c.ratio == "tolerant" else None,
        )

    def _regularisers(
        self, actor: GaussianActor, flat: Tensor, previous: Tensor, x: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Entropy of the actions of each step ``[T]``, and mean divergence from ``previous``, at ``x [T, N, no]``."""
        policy = actor(actor.split(flat), x)
        u = policy.mean + eps * policy.logstd.exp()
        return -policy.squashed_log_prob(u).mean(-1), policy.kl(actor(actor.split(previous), x)).mean()

    def critic(self, env: Env) -> Critic:
        return q_critic(self.config, self.config.critic_hidden, env, self.config.num_critics)

    def gains(self) -> tuple[float | None, float | None]:
        return None, 1.0


ALGORITHM = AGPO
