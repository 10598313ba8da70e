"""Twin Delayed DDPG, without gradients of the simulator (Fujimoto et al. 2018)

A deterministic policy and two Q functions learned from a replay buffer. Fujimoto, van Hoof & Meger, Addressing Function
Approximation Error in Actor-Critic Methods, ICML 2018 (arXiv:1802.09477): Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim_core import Env
from diffsim_core.options import Count, NotNegative

from ..._algorithm import Policy
from .._mlp import MLP
from .._networks import deterministic_actor
from .._off_policy import Batch, OffPolicyConfig, OffPolicyLearner, OffPolicyState, QFunctions, Steps
from .._policy import DeterministicPolicy
from .._window import normal


@dataclass(frozen=True, kw_only=True)
class TD3Config(OffPolicyConfig):
    """Twin Delayed Deep Deterministic policy gradient (Fujimoto et al. 2018).

    Fields that SAC does not have default to the paper's values.
    """

    exploration_noise: NotNegative = 0.1
    """Standard deviation of the noise on the actions taken while learning."""
    target_noise: NotNegative = 0.2
    """Standard deviation of the noise on the target policy's actions."""
    target_noise_clip: NotNegative = 0.5
    """Bound of that noise, plus and minus."""
    policy_delay: Count = 2
    """Gradient steps of the Q functions for each step of the actor and of the target networks."""


@dataclass(frozen=True)
class TD3State(OffPolicyState):
    """The state of a TD3 run."""

    target_actor: Tensor
    """Flat parameters of the target actor."""
    gradient_steps: int
    """Of the Q functions, so far: the actor's turn comes every ``policy_delay`` steps."""


@dataclass(frozen=True)
class TD3(OffPolicyLearner[TD3Config, TD3State]):
    """Twin Delayed DDPG. Needs no gradient of the environment.

    Each update rolls the policy out for ``horizon`` steps, with noise on its actions, into the replay buffer and takes
    ``updates`` gradient steps of the Q functions on batches drawn from it. Every ``policy_delay`` of them the actor
    takes a step up the first Q function, and the target networks move. A window that is not finite is not kept, and an
    update that is not finite changes no parameter; both are counted.
    """

    config: TD3Config = field(default_factory=TD3Config)
    name: ClassVar[str] = "td3"
    state_type = TD3State
    metrics = ("actor_loss", "critic_loss", "grad_norm", "value_mean")

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        fields = super().first(env, obs, generator)
        return {**fields, "target_actor": fields["actor"].clone(), "gradient_steps": 0}

    def actor(self, env: Env) -> MLP:
        """The actor's network."""
        return deterministic_actor(self.config, env)

    def draw_actor(self, env: Env, generator: torch.Generator) -> Tensor:
        return self.actor(env).init(generator, gain=None)

    def behaviour(self, state: TD3State, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        c, run, net = self.config, state.run, self.actor(state.env)
        normalize, params = run.normalizer(c), net.split(state.actor)
        eps = normal(generator, run.obs, c.horizon, len(run.obs), run.env.spec.num_actions)
        noise = iter((c.exploration_noise * eps).unbind(0))

        def act(obs: Tensor) -> Tensor:
            return (torch.tanh(net(params, normalize(obs))) + next(noise)).clamp(-1.0, 1.0)

        return act

    def steps(self, state: TD3State, batches: Iterable[Batch], generator: torch.Generator) -> Steps:
        c, net = self.config, self.actor(state.env)
        q = QFunctions(self, state)
        actor, actor_adam, target_actor = state.actor.clone(), state.actor_adam.clone(), state.target_actor.clone()
        lr = self.lr(state, c.actor_lr)
        rows: list[dict[str, Tensor]] = []
        count = state.gradient_steps
        for batch in batches:
            # Q functions: the target policy's action with clipped noise, and the least of the targets' values.
            noise = c.target_noise * normal(generator, batch.x, *batch.action.shape)
            with torch.no_grad():
                action = torch.tanh(net(net.split(target_actor), batch.x_next))
                action += noise.clamp(-c.target_noise_clip, c.target_noise_clip)
                y = q.target_value(batch, action.clamp(-1.0, 1.0))
            rows.append({"critic_loss": q.fit(batch, y), "value_mean": y.mean()})
            count += 1
            if count % c.policy_delay:
                continue

            # The actor up the first Q function, and all targets.
            params = actor.detach().requires_grad_()
            loss = -q.first(batch.x, torch.tanh(net(net.split(params), batch.x))).mean()
            (grad,) = torch.autograd.grad(loss, params)
            actor_adam, grad_norm = self.optimizer.step_(actor, actor_adam, grad, lr)
            target_actor.lerp_(actor, 1.0 - c.target_alpha)
            q.move_target()
            rows[-1] |= {"actor_loss": loss.detach(), "grad_norm": grad_norm}
        changes = {"actor": actor, "actor_adam": actor_adam, "target_actor": target_actor, "gradient_steps": count}
        return {**changes, **q.changes()}, (actor, q.flat, *(row["value_mean"] for row in rows)), rows

    def policy(self, state: TD3State, *, deterministic: bool = True, seed: int = 0) -> Policy:
        """The policy of ``state``, with its observation statistics; if not deterministic, with exploration noise."""
        mean = DeterministicPolicy(self.actor(state.env), state.actor, state.run.normalizer(self.config))
        if deterministic:
            return mean
        generator = torch.Generator(state.run.obs.device).manual_seed(seed)
        return _ClippedPolicy(mean, self.config.exploration_noise, generator)


@dataclass(frozen=True)
class _ClippedPolicy:
    """``clip(tanh(mu(obs)) + noise eps, -1, 1)``: the noise is added after tanh."""

    mean: DeterministicPolicy
    noise: float
    """Standard deviation."""
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        action = self.mean(obs)
        eps = torch.randn(action.shape, generator=self.generator, dtype=action.dtype, device=action.device)
        return torch.add(action, eps, alpha=self.noise).clamp(-1.0, 1.0)


ALGORITHM = TD3
