"""What GI-PPO and the plain policy gradients share: a window with its values and advantages, the critic's part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, rollout

from .._configs import OnPolicyConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic, ValueFunction, fit_critic
from ._distributions import Gaussian
from ._mlp import MLP
from ._normalize import RunningStats, value_units
from ._policy import GaussianActor, GaussianPolicy, NoisyPolicy


class OnPolicy(training.Worlds, Protocol):
    """The fields that every state here has beside those of ``Worlds``."""

    @property
    def actor(self) -> Tensor:
        """Flat parameters of the actor."""
        ...

    @property
    def critic(self) -> Tensor:
        """Flat parameters of the critic, whose values are in units of ``value_stats``."""
        ...

    @property
    def critic_adam(self) -> Adam: ...
    @property
    def target(self) -> Tensor:
        """Flat parameters of the target critic, which is what values are taken from."""
        ...

    @property
    def value_stats(self) -> RunningStats:
        """Statistics of all value targets so far, of size 1."""
        ...


class Networks(NamedTuple):
    """The shapes of actor and critic."""

    actor: GaussianActor
    critic: Critic

    @classmethod
    def of(cls, config: OnPolicyConfig, env: Env) -> Networks:
        num_obs, num_actions = env.spec.num_obs, env.spec.num_actions
        outputs = 2 * num_actions if config.state_dependent_std else num_actions
        actor = MLP((num_obs, *config.actor_hidden, outputs), config.activation)
        return cls(
            GaussianActor(actor, config.state_dependent_std, (config.logstd_min, config.logstd_max)),
            Critic(MLP((num_obs, *config.critic_hidden, 1), config.activation)),
        )


class Window(NamedTuple):
    """A window of the stochastic policy, and what it was worth. Rows of all ``[T, N]`` arrays belong together."""

    trajectory: Trajectory
    env_state: EnvState
    obs: Tensor
    x: Tensor
    """``[T, N, no]`` normalised observations the policy saw, without graph."""
    eps: Tensor
    """``[T, N, na]`` its noise."""
    noisy: NoisyPolicy
    """What acted, with its actions as they entered the graph."""
    policy: Gaussian
    """Distributions they were drawn from, ``[T, N, na]``, without graph."""
    value_next: Tensor
    """``[T, N]`` target critic's value of what each step led to."""
    advantage: Tensor
    """``[T, N]`` generalised advantages (Eq. 14), with graph if the window was recorded."""
    target_value: Tensor
    """``[T, N]`` TD(lambda) targets, without graph."""

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """``(terminated, done)``, both ``[T, N]``."""
        return self.trajectory.terminated, self.trajectory.done

    @property
    def u(self) -> Tensor:
        """``[T, N, na]`` actions before tanh, without graph."""
        return self.noisy.samples().detach()


def first_fields(config: OnPolicyConfig, env: Env, seed: int, name: str, *, gradients: bool = True) -> dict[str, Any]:
    """The fields of ``OnPolicy`` before the first update, for an algorithm called ``name``.

    Raises:
        ValueError: its ``gradients`` are needed and the environment is not differentiable, or its observation is no
            tensor ``[N, no]``.
    """
    env_state, obs = training.begin(env, seed, name, gradients=gradients, window=config.horizon)
    # Networks are drawn on the CPU, so that they are the same on every device.
    generator = torch.Generator().manual_seed(seed)
    nets = Networks.of(config, env)
    actor = nets.actor.init(generator, logstd=config.logstd_init).to(obs)
    if config.state_dependent_std:
        # The last parameters are the biases of log sigma.
        actor[-env.spec.num_actions :] += config.logstd_init
    critic = nets.critic.init(generator, gain=math.sqrt(2.0)).to(obs)
    return {
        "actor": actor,
        "critic": critic,
        "critic_adam": Adam.init(critic),
        "target": critic.clone(),
        "value_stats": RunningStats.init(1, obs.device),
        **training.first_fields(env, env_state, obs, generator),
    }


def collect(
    config: OnPolicyConfig, state: OnPolicy, actor: Tensor, generator: torch.Generator, *, env: Env | None = None
) -> Window:
    """Let the policy act for ``horizon`` steps; with a graph if ``actor`` requires a gradient.

    Args:
        config: the algorithm's.
        state: its state; nothing in it changes.
        actor: the actor's flat parameters.
        generator: draws the noise.
        env: worlds to step instead of ``state.env``, which they wrap.
    """
    nets = Networks.of(config, state.env)
    shift, scale = training.normalizer(config, state)
    eps = training.normal(generator, state.obs, config.horizon, state.env.num_envs, state.env.spec.num_actions)
    noisy = NoisyPolicy(nets.actor, actor, shift, scale, eps)
    window, env_state, obs = rollout(env or state.env, noisy, state.env_state, state.obs, config.horizon)
    mean, std = value_units(state.value_stats, state.obs, config.normalize_value)
    x = torch.addcmul(shift, window.obs, scale)
    x_next = torch.addcmul(shift, window.final_obs, scale)
    value, value_next = (mean + std * nets.critic(state.target, inputs)[0] for inputs in (x, x_next))
    ends = (window.terminated, window.done)
    advantage = gradest.gae(window.reward, value, value_next, *ends, gamma=config.gamma, lam=config.lam)
    policy = noisy.gaussian()
    return Window(
        trajectory=window,
        env_state=env_state,
        obs=obs,
        x=x.detach(),
        eps=eps,
        noisy=noisy,
        policy=Gaussian(policy.mean.detach(), policy.logstd.detach()),
        value_next=value_next,
        advantage=advantage,
        target_value=(advantage + value).detach(),
    )


def standardised(advantage: Tensor) -> Tensor:
    """Advantages shifted and scaled to mean 0 and standard deviation 1, without graph."""
    advantage = advantage.detach()
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def fit_values(
    config: OnPolicyConfig, state: OnPolicy, window: Window, lr: float, generator: torch.Generator
) -> tuple[dict[str, Any], Tensor]:
    """The critic's fields after it was fitted to the window's TD(lambda) targets, and its loss."""
    nets = Networks.of(config, state.env)
    value_stats = state.value_stats.update(window.target_value.reshape(-1, 1))
    mean, std = value_units(value_stats, state.obs, config.normalize_value)
    fitted, critic_adam, loss = fit_critic(
        nets.critic,
        state.critic,
        state.critic_adam,
        window.x.flatten(0, 1),
        ((window.target_value - mean) / std).flatten(),
        config=config,
        optimizer=Optimizer(config.betas, config.max_grad_norm),
        lr=lr,
        generator=generator,
    )
    target = torch.lerp(fitted, state.target, config.target_alpha)
    learned = {"critic": fitted, "critic_adam": critic_adam, "target": target, "value_stats": value_stats}
    return learned, loss


def finish(
    state: training.State,
    learned: Mapping[str, Any],
    window: Window,
    generator: torch.Generator,
    *finite: Tensor,
) -> training.State:
    """The state after a window, with what was learned if that and ``finite`` are finite."""
    accepted = training.all_finite(
        *finite, learned["actor"], learned["critic"], window.target_value, window.x, window.advantage.detach()
    )
    return training.go_on(
        state, learned if accepted else None, window.trajectory, window.env_state, window.obs, generator
    )


def value_function(config: OnPolicyConfig, state: OnPolicy) -> ValueFunction:
    """The critic's value of observations, for viewers."""
    shift, scale = training.normalizer(config, state)
    units = value_units(state.value_stats, state.obs, config.normalize_value)
    return ValueFunction(Networks.of(config, state.env).critic, state.critic, shift, scale, *units)


def gaussian_policy(
    config: OnPolicyConfig, state: OnPolicy, *, deterministic: bool = True, seed: int = 0
) -> GaussianPolicy:
    """The policy of ``state``, with the observation statistics up to now."""
    shift, scale = training.normalizer(config, state)
    generator = None if deterministic else torch.Generator(state.obs.device).manual_seed(seed)
    return GaussianPolicy(Networks.of(config, state.env).actor, state.actor, shift, scale, generator)
