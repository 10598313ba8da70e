"""The one place where actors and critics are made from a configuration and an environment."""

from __future__ import annotations

from diffsim_core import Env

from .._config import CriticConfig, GaussianConfig, WindowConfig
from ._critic import Critic
from ._encoder import EncodedMLP, Encoder
from ._mlp import MLP, Network
from ._policy import GaussianActor


def gaussian_actor(config: GaussianConfig, env: Env, encoder: Encoder | None = None) -> GaussianActor:
    """``obs -> N(mu, sigma)``, behind an encoder if there is one."""
    outputs = (2 if config.state_dependent_std else 1) * env.spec.num_actions
    network = _mlp(config, env.spec.num_obs, config.actor_hidden, outputs, encoder)
    return GaussianActor(network, config.state_dependent_std, (config.logstd_min, config.logstd_max))


def deterministic_actor(config: WindowConfig, env: Env) -> MLP:
    """``obs -> mu``; actions are ``tanh(mu)``."""
    sizes = (env.spec.num_obs, *config.actor_hidden, env.spec.num_actions)
    return MLP(sizes, config.activation, config.layer_norm)


def value_critic(config: CriticConfig, env: Env, count: int = 1, encoder: Encoder | None = None) -> Critic:
    """``count`` value functions ``V(obs)``, each behind an encoder of its own if there is one."""
    return Critic(_mlp(config, env.spec.num_obs, config.critic_hidden, 1, encoder), count)


def feature_critic(config: CriticConfig, encoder: Encoder, count: int = 1) -> Critic:
    """``count`` value functions of what ``encoder`` gives."""
    return Critic(_mlp(config, encoder.width, config.critic_hidden, 1, None), count)


def q_critic(config: WindowConfig, hidden: tuple[int, ...], env: Env, count: int) -> Critic:
    """``count`` Q functions of observation and action, one after the other in their input."""
    return Critic(_mlp(config, env.spec.num_obs + env.spec.num_actions, hidden, 1, None), count)


def _mlp(config: WindowConfig, inputs: int, hidden: tuple[int, ...], outputs: int, encoder: Encoder | None) -> Network:
    width = inputs if encoder is None else encoder.width
    mlp = MLP((width, *hidden, outputs), config.activation, config.layer_norm)
    return mlp if encoder is None else EncodedMLP(encoder, mlp)
