"""Stable-Baselines3 on our environments: a vectorised environment, and models with our networks' initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from torch import Tensor, nn

from diffsim_core import Env
from diffsim_core.adapters import SB3VecEnv

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Worlds(SB3VecEnv):
    """Our worlds for Stable-Baselines3.

    With ``squash`` the bounds of actions are out of reach, and the environment takes ``tanh`` of each action. PPO's
    policy in Stable-Baselines3 is a plain Gaussian, as ours is before ``tanh``.
    """

    def __init__(self, env: Env, seed: int, *, squash: bool) -> None:
        super().__init__(env, seed)
        self._squash = squash
        if squash:
            self.action_space = gymnasium.spaces.Box(-1e6, 1e6, (env.spec.num_actions,), np.float32)

    def step_async(self, actions: np.ndarray) -> None:
        action = np.asarray(actions, np.float32)
        super().step_async(torch.tanh(torch.from_numpy(action)).numpy() if self._squash else action)


def model(algo: str, config: Any, env: Env, seed: int) -> Any:
    """The model of Stable-Baselines3 with the hyper-parameters of our ``config``, on ``env``."""
    worlds = Worlds(env, seed, squash=algo == "ppo")
    shapes = {"pi": list(config.actor_hidden), "vf" if algo == "ppo" else "qf": list(config.critic_hidden)}
    policy: dict[str, Any] = {"net_arch": shapes, "activation_fn": ACTIVATIONS[config.activation]}
    policy |= {"optimizer_kwargs": {"betas": config.betas, "eps": 1e-8}}
    common: dict[str, Any] = {"gamma": config.gamma, "learning_rate": config.actor_lr, "seed": seed, "device": "cpu"}
    if algo == "ppo":
        return PPO(
            "MlpPolicy",
            worlds,
            n_steps=config.horizon,
            batch_size=config.horizon * env.num_envs,
            n_epochs=config.actor_iterations,
            gae_lambda=config.lam,
            clip_range=config.clip,
            ent_coef=config.entropy_coef,
            max_grad_norm=config.max_grad_norm,
            policy_kwargs={**policy, "log_std_init": config.logstd_init},
            **common,
        )
    common |= {
        "buffer_size": config.replay_size,
        "batch_size": config.batch_size,
        "learning_starts": config.warmup_steps * env.num_envs,
        "train_freq": config.horizon,
        "gradient_steps": config.updates,
        "tau": 1.0 - config.target_alpha,
    }
    policy |= {"n_critics": config.num_critics}
    if algo == "sac":
        entropy = -config.target_entropy * env.spec.num_actions
        temperature = f"auto_{config.temperature_init}"
        return SAC("MlpPolicy", worlds, ent_coef=temperature, target_entropy=entropy, policy_kwargs=policy, **common)
    return TD3(
        "MlpPolicy",
        worlds,
        action_noise=NormalActionNoise(
            np.zeros(env.spec.num_actions), np.full(env.spec.num_actions, config.exploration_noise)
        ),
        policy_delay=config.policy_delay,
        target_policy_noise=config.target_noise,
        target_noise_clip=config.target_noise_clip,
        policy_kwargs=policy,
        **common,
    )


@torch.no_grad()
def copy_weights(algo: str, theirs: Any, state: Any) -> None:
    """Copy the weights of our initial ``state`` into a model, target networks included."""
    policy = theirs.policy
    if algo == "ppo":
        actor = [*_linears(policy.mlp_extractor.policy_net), policy.action_net]
        rest = _fill(actor, state.actor)
        policy.log_std.copy_(rest)
        _fill([*_linears(policy.mlp_extractor.value_net), policy.value_net], state.critic)
        return
    if algo == "sac":
        hidden = _linears(policy.actor.latent_pi)
        rest = _fill(hidden, state.actor)
        mean, logstd = policy.actor.mu, policy.actor.log_std
        # Our network has both outputs in one layer.
        weights, biases = rest.split([2 * mean.weight.numel(), 2 * mean.bias.numel()])
        for layer, weight, bias in zip((mean, logstd), weights.chunk(2), biases.chunk(2), strict=True):
            layer.weight.copy_(weight.view_as(layer.weight))
            layer.bias.copy_(bias)
    else:
        _fill(_linears(policy.actor.mu), state.actor)
        policy.actor_target.load_state_dict(policy.actor.state_dict())
    for net, flat in zip(policy.critic.q_networks, state.critic.chunk(len(policy.critic.q_networks)), strict=True):
        _fill(_linears(net), flat)
    policy.critic_target.load_state_dict(policy.critic.state_dict())


def policy_of(algo: str, theirs: Any) -> Callable[[Tensor], Tensor]:
    """The model's deterministic policy as a function of our observations."""

    def act(obs: Tensor) -> Tensor:
        action = torch.from_numpy(np.asarray(theirs.predict(obs.numpy(), deterministic=True)[0]))
        return torch.tanh(action) if algo == "ppo" else action

    return act


def _linears(net: nn.Module) -> list[nn.Linear]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear)]


def _fill(layers: list[nn.Linear], flat: Tensor) -> Tensor:
    """Write the beginning of ``flat`` into layers, and return the rest of it."""
    for layer in layers:
        for part in (layer.weight, layer.bias):
            part.copy_(flat[: part.numel()].view_as(part))
            flat = flat[part.numel() :]
    return flat
