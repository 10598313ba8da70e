"""Soft Actor-Critic: a stochastic policy and Q functions learned from a replay buffer, with no gradient of the worlds.

Haarnoja, Zhou, Hartikainen, Tucker, Ha, Tan, Kumar, Zhu, Gupta, Abbeel & Levine, Soft Actor-Critic Algorithms and
Applications, 2018 (arXiv:1812.05905): Algorithm 1 and Eq. 5-9 and 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState

from .._algorithm import Metrics
from .._configs import SACConfig
from . import _off_policy as off_policy
from . import _training as training
from ._adam import Adam, Optimizer
from ._episodes import Episodes
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, GaussianPolicy, NoisyPolicy
from ._replay import Replay
from ._schedules import learning_rate
from ._state import from_arrays, to_arrays

_FIGURES = ("actor_loss", "critic_loss", "grad_norm", "value_mean", "std_mean", "entropy", "temperature")


class SACState(NamedTuple):
    """All that a SAC run is: replaced by every update, never changed, but for the buffer's rows; see ``Replay``."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the Q functions, one after another."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target Q functions."""
    log_temperature: Tensor
    """``[1]``."""
    temperature_adam: Adam
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
class SAC:
    """Soft Actor-Critic. Needs no gradient of the environment.

    Each update rolls the stochastic policy out for ``horizon`` steps into the replay buffer and takes ``updates``
    gradient steps of the Q functions (Eq. 5 and 6), the actor (Eq. 7 to 9) and the temperature (Eq. 18) on batches
    drawn from it. A window that is not finite is not kept, and an update that is not finite changes no parameter; both
    are counted.
    """

    config: SACConfig = field(default_factory=SACConfig)
    name: str = field(default="sac", init=False)

    def init(self, env: Env, seed: int) -> SACState:
        """The state before the first update.

        Raises:
            ValueError: the environment's observation is no tensor ``[N, no]``.
        """
        c = self.config
        env_state, obs = training.begin(env, seed, "SAC", gradients=False)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        actor = self._actor(env).init(generator, logstd=0.0).to(obs)
        log_temperature = torch.full((1,), c.temperature_init).log().to(obs)
        return SACState(
            actor=actor,
            actor_adam=Adam.init(actor),
            log_temperature=log_temperature,
            temperature_adam=Adam.init(log_temperature),
            **off_policy.first_fields(c, env, env_state, obs, generator),
        )

    def update(self, state: SACState) -> tuple[SACState, Metrics]:
        """One window, ``updates`` gradient steps."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: SACState) -> tuple[SACState, Metrics]:
        c, generator = self.config, training.generator_of(state)
        shift, scale = training.normalizer(c, state)
        eps = training.normal(generator, state.obs, c.horizon, len(state.obs), state.env.spec.num_actions)
        noisy = NoisyPolicy(self._actor(state.env), state.actor, shift, scale, eps)
        return off_policy.update(c, state, noisy, lambda b: self._learn(state, b, generator), generator, _FIGURES)

    def _learn(
        self, state: SACState, batches: Iterable[off_policy.Batch], generator: torch.Generator
    ) -> tuple[dict[str, object] | None, list[dict[str, Tensor]]]:
        """What a gradient step for each batch changes, None if that is not finite; the figures of each."""
        c, net, num_actions = self.config, self._actor(state.env), state.env.spec.num_actions
        q = off_policy.QFunctions(c, state, learning_rate(c, c.critic_lr, state.iteration))
        actor, actor_adam = state.actor.clone(), state.actor_adam.clone()
        log_temperature, temperature_adam = state.log_temperature.clone(), state.temperature_adam.clone()
        lr = learning_rate(c, c.actor_lr, state.iteration)
        optimizer = Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
        # It does not decay: the temperature has no natural size.
        plain = Optimizer(c.betas, c.max_grad_norm)
        target_entropy = -c.target_entropy * num_actions
        figures: list[dict[str, Tensor]] = []
        for batch in batches:
            eps, eps_next = training.normal(generator, batch.x, 2, len(batch.x), num_actions)
            temperature = log_temperature.exp()

            # Q functions: the soft value of what follows is Q less the temperature times log pi (Eq. 5 and 6).
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
            actor_adam, grad_norm = optimizer.step_(actor, actor_adam, grad, lr)

            # The temperature, towards the target entropy (Eq. 18), and the target Q functions.
            entropy = -log_prob.detach().mean()
            if c.auto_temperature:
                slope = temperature * (entropy - target_entropy)
                temperature_adam, _ = plain.step_(log_temperature, temperature_adam, slope, c.temperature_lr)
            q.follow()
            values = (loss, critic_loss, grad_norm, y.mean(), policy.logstd.exp().mean(), entropy, temperature[0])
            figures.append({name: value.detach() for name, value in zip(_FIGURES, values, strict=True)})
        accepted = training.all_finite(actor, q.flat, log_temperature, *(row["value_mean"] for row in figures))
        learned = {
            "actor": actor,
            "actor_adam": actor_adam,
            "log_temperature": log_temperature,
            "temperature_adam": temperature_adam,
            **q.learned(),
        }
        return learned if accepted else None, figures

    def policy(self, state: SACState, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now; deterministic, it is ``tanh(mu)``."""
        shift, scale = training.normalizer(self.config, state)
        generator = None if deterministic else torch.Generator(state.obs.device).manual_seed(seed)
        return GaussianPolicy(self._actor(state.env), state.actor, shift, scale, generator)

    def to_arrays(self, state: SACState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: SACState, arrays: Mapping[str, np.ndarray]) -> SACState:
        return from_arrays(state, arrays)

    def _actor(self, env: Env) -> GaussianActor:
        c = self.config
        sizes = (env.spec.num_obs, *c.actor_hidden, 2 * env.spec.num_actions)
        return GaussianActor(MLP(sizes, c.activation, c.layer_norm), True, (c.logstd_min, c.logstd_max))
