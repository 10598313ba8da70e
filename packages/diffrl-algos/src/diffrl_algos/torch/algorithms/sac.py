"""Soft Actor-Critic, without gradients of the simulator (Haarnoja et al. 2018)

A stochastic policy and Q functions learned from a replay buffer. Haarnoja, Zhou, Hartikainen, Tucker, Ha, Tan, Kumar,
Zhu, Gupta, Abbeel & Levine, Soft Actor-Critic Algorithms and Applications, 2018 (arXiv:1812.05905): Algorithm 1 and
Eq. 5-9 and 18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim_core import Env

from ..._configs.temperature import TemperatureConfig
from .._choice import is_native
from .._learner import ActorLearner
from .._networks import gaussian_actor
from .._off_policy import Batch, OffPolicyConfig, OffPolicyLearner, OffPolicyState, QFunctions, Steps
from .._policy import GaussianActor, native_steps
from .._temperature import TemperatureState, adapted, first_temperature
from .._window import normal


@dataclass(frozen=True, kw_only=True)
class SACConfig(OffPolicyConfig, TemperatureConfig):
    """Soft Actor-Critic (Haarnoja et al. 2018), with the setting of Xing et al. 2024 (Table 2) for its defaults."""


@dataclass(frozen=True)
class SACState(OffPolicyState, TemperatureState):
    """The state of a SAC run."""


@dataclass(frozen=True)
class SAC(OffPolicyLearner[SACConfig, SACState]):
    """Soft Actor-Critic. Needs no gradient of the environment.

    Each update rolls the stochastic policy out for ``horizon`` steps into the replay buffer and takes ``updates``
    gradient steps of the Q functions (Eq. 5 and 6), the actor (Eq. 7 to 9) and the temperature (Eq. 18) on batches
    drawn from it. A window that is not finite is not kept, and an update that is not finite changes no parameter; both
    are counted.
    """

    config: SACConfig = field(default_factory=SACConfig)
    name: ClassVar[str] = "sac"
    state_type = SACState
    metrics = ("actor_loss", "critic_loss", "grad_norm", "value_mean", "std_mean", "entropy", "temperature")

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        return {**super().first(env, obs, generator), **first_temperature(self.config, obs)}

    def init(self, env: Env, seed: int) -> SACState:
        state = super().init(env, seed)
        self._native(state)
        return state

    def actor(self, env: Env) -> GaussianActor:
        """The actor's network."""
        return gaussian_actor(self.config, env)

    policy = ActorLearner.policy

    def draw_actor(self, env: Env, generator: torch.Generator) -> Tensor:
        return self.actor(env).init(generator, logstd=self.config.logstd_init)

    def behaviour(self, state: SACState, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        run, net = state.run, self.actor(state.env)
        normalize, params = run.normalizer(self.config), net.split(state.actor)
        shape = (self.config.horizon, len(run.obs), run.env.spec.num_actions)
        noise = iter(normal(generator, run.obs, *shape).unbind(0))

        if self._native(state):
            native = native_steps(net, state.actor)
            return lambda obs: native(normalize(obs), next(noise))[3]

        def act(obs: Tensor) -> Tensor:
            policy = net(params, normalize(obs))
            return torch.tanh(policy.mean + next(noise) * policy.logstd.exp())

        return act

    def _native(self, state: SACState) -> bool:
        """Whether compiled code computes the policy that fills the buffer."""
        return is_native("policy_step", self.config.policy_step, self.actor(state.env).mlp, state.actor.device)

    def steps(self, state: SACState, batches: Iterable[Batch], generator: torch.Generator) -> Steps:
        c, net, num_actions = self.config, self.actor(state.env), state.env.spec.num_actions
        q = QFunctions(self, state)
        actor, actor_adam = state.actor.clone(), state.actor_adam.clone()
        log_temperature, temperature_adam = state.log_temperature, state.temperature_adam
        lr = self.lr(state, c.actor_lr)
        target_entropy = -c.target_entropy * num_actions
        rows: list[dict[str, Tensor]] = []
        for batch in batches:
            eps, eps_next = normal(generator, batch.x, 2, len(batch.x), num_actions)
            temperature = log_temperature.exp()

            # Q functions: the soft value of the next observation is Q minus the temperature times log pi (Eq. 5, 6).
            with torch.no_grad():
                policy = net(net.split(actor), batch.x_next)
                u = torch.addcmul(policy.mean, eps_next, policy.logstd.exp())
                y = q.target_value(batch, torch.tanh(u), -temperature * policy.squashed_log_prob(u))
            critic_loss = q.fit(batch, y)

            # The actor, through the action (Eq. 7 to 9).
            params = actor.detach().requires_grad_()
            policy = net(net.split(params), batch.x)
            u = torch.addcmul(policy.mean, eps, policy.logstd.exp())
            log_prob = policy.squashed_log_prob(u)
            loss = (temperature * log_prob - q(batch.x, torch.tanh(u)).amin(0)).mean()
            (grad,) = torch.autograd.grad(loss, params)
            actor_adam, grad_norm = self.optimizer.step_(actor, actor_adam, grad, lr)

            # The temperature, towards the target entropy (Eq. 18), and the target Q functions.
            entropy = -log_prob.detach().mean()
            log_temperature, temperature_adam = adapted(c, log_temperature, temperature_adam, entropy, target_entropy)
            q.move_target()
            values = (loss, critic_loss, grad_norm, y.mean(), policy.logstd.exp().mean(), entropy, temperature[0])
            rows.append({name: value.detach() for name, value in zip(self.metrics, values, strict=True)})
        changes = {
            "actor": actor,
            "actor_adam": actor_adam,
            "log_temperature": log_temperature,
            "temperature_adam": temperature_adam,
            **q.changes(),
        }
        return changes, (actor, q.flat, log_temperature, *(row["value_mean"] for row in rows)), rows


ALGORITHM = SAC
