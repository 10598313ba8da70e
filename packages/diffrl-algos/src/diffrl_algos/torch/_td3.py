"""Twin Delayed DDPG: a deterministic policy and two Q functions from a replay buffer, with no gradient of the worlds.

Fujimoto, van Hoof & Meger, Addressing Function Approximation Error in Actor-Critic Methods, ICML 2018
(arXiv:1802.09477): Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState

from .._algorithm import Metrics, Policy
from .._configs import TD3Config
from . import _off_policy as off_policy
from . import _training as training
from ._adam import Adam, Optimizer
from ._episodes import Episodes
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import DeterministicPolicy
from ._replay import Replay
from ._schedules import learning_rate
from ._state import from_arrays, to_arrays

_FIGURES = ("actor_loss", "critic_loss", "grad_norm", "value_mean")


class TD3State(NamedTuple):
    """All that a TD3 run is: replaced by every update, never changed, but for the buffer's rows; see ``Replay``."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    target_actor: Tensor
    """Flat parameters of the target actor."""
    critic: Tensor
    """Flat parameters of the Q functions, one after another."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target Q functions."""
    gradient_steps: int
    """Of the Q functions, so far: the actor's turn comes every ``policy_delay``."""
    replay: Replay
    """The steps up to the present observation, as they were seen."""
    stats: RunningStats
    """Statistics of all observations before the next window; frozen while a window is rolled out and learned from."""
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
class TD3:
    """Twin Delayed DDPG. Needs no gradient of the environment.

    Each update rolls the policy out for ``horizon`` steps, with noise on its actions, into the replay buffer and takes
    ``updates`` gradient steps of the Q functions on batches drawn from it; every ``policy_delay`` of them the actor
    takes a step up the first Q function and the target networks follow. A window that is not finite is not kept, and an
    update that is not finite changes no parameter; both are counted.
    """

    config: TD3Config = field(default_factory=TD3Config)
    name: str = field(default="td3", init=False)

    def init(self, env: Env, seed: int) -> TD3State:
        """The state before the first update.

        Raises:
            ValueError: the environment's observation is no tensor ``[N, no]``.
        """
        c = self.config
        env_state, obs = training.begin(env, seed, "TD3", gradients=False)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        actor = self._actor(env).init(generator, gain=None).to(obs)
        return TD3State(
            actor=actor,
            actor_adam=Adam.init(actor),
            target_actor=actor.clone(),
            gradient_steps=0,
            **off_policy.first_fields(c, env, env_state, obs, generator),
        )

    def update(self, state: TD3State) -> tuple[TD3State, Metrics]:
        """One window, ``updates`` gradient steps."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: TD3State) -> tuple[TD3State, Metrics]:
        c, generator, net = self.config, training.generator_of(state), self._actor(state.env)
        shift, scale = training.normalizer(c, state)
        params = net.split(state.actor)
        eps = training.normal(generator, state.obs, c.horizon, len(state.obs), state.env.spec.num_actions)
        noise = iter((c.exploration_noise * eps).unbind(0))

        def act(obs: Tensor) -> Tensor:
            return (torch.tanh(net(params, torch.addcmul(shift, obs, scale))) + next(noise)).clamp(-1.0, 1.0)

        return off_policy.update(c, state, act, lambda b: self._learn(state, b, generator), generator, _FIGURES)

    def _learn(
        self, state: TD3State, batches: Iterable[off_policy.Batch], generator: torch.Generator
    ) -> tuple[dict[str, object] | None, list[dict[str, Tensor]]]:
        """What a gradient step for each batch changes, None if that is not finite; the figures of each."""
        c, net = self.config, self._actor(state.env)
        q = off_policy.QFunctions(c, state, learning_rate(c, c.critic_lr, state.iteration))
        actor, actor_adam, target_actor = state.actor.clone(), state.actor_adam.clone(), state.target_actor.clone()
        lr = learning_rate(c, c.actor_lr, state.iteration)
        optimizer = Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
        figures: list[dict[str, Tensor]] = []
        steps = state.gradient_steps
        for batch in batches:
            # Q functions: the target policy's action with clipped noise, the least of the targets' values.
            noise = c.target_noise * training.normal(generator, batch.x, *batch.action.shape)
            with torch.no_grad():
                follows = torch.tanh(net(net.split(target_actor), batch.x_next))
                follows += noise.clamp(-c.target_noise_clip, c.target_noise_clip)
                y = q.target_value(batch, follows.clamp(-1.0, 1.0))
            figures.append({"critic_loss": q.fit(batch, y), "value_mean": y.mean()})
            steps += 1
            if steps % c.policy_delay:
                continue

            # The actor up the first Q function, and all targets.
            params = actor.detach().requires_grad_()
            loss = -q.first(batch.x, torch.tanh(net(net.split(params), batch.x))).mean()
            (grad,) = torch.autograd.grad(loss, params)
            actor_adam, grad_norm = optimizer.step_(actor, actor_adam, grad, lr)
            target_actor.lerp_(actor, 1.0 - c.target_alpha)
            q.follow()
            figures[-1] |= {"actor_loss": loss.detach(), "grad_norm": grad_norm}
        accepted = training.all_finite(actor, q.flat, *(row["value_mean"] for row in figures))
        learned = {"actor": actor, "actor_adam": actor_adam, "target_actor": target_actor, "gradient_steps": steps}
        return ({**learned, **q.learned()} if accepted else None), figures

    def policy(self, state: TD3State, *, deterministic: bool = True, seed: int = 0) -> Policy:
        """The policy of ``state``, with the observation statistics up to now; otherwise with the noise of learning."""
        shift, scale = training.normalizer(self.config, state)
        mean = DeterministicPolicy(self._actor(state.env), state.actor, shift, scale)
        if deterministic:
            return mean
        generator = torch.Generator(state.obs.device).manual_seed(seed)
        return _ClippedPolicy(mean, self.config.exploration_noise, generator)

    def to_arrays(self, state: TD3State) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: TD3State, arrays: Mapping[str, np.ndarray]) -> TD3State:
        return from_arrays(state, arrays)

    def _actor(self, env: Env) -> MLP:
        c = self.config
        return MLP((env.spec.num_obs, *c.actor_hidden, env.spec.num_actions), c.activation, c.layer_norm)


@dataclass(frozen=True)
class _ClippedPolicy:
    """``clip(tanh(mu(obs)) + noise eps, -1, 1)``: the noise comes after tanh."""

    mean: DeterministicPolicy
    noise: float
    """Standard deviation."""
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        action = self.mean(obs)
        eps = torch.randn(action.shape, generator=self.generator, dtype=action.dtype, device=action.device)
        return torch.add(action, eps, alpha=self.noise).clamp(-1.0, 1.0)
