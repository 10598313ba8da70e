"""What algorithms with a Gaussian actor share around their updates: networks, the policy handed out, checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env

from .._algorithm import Metrics
from .._configs import AGPOConfig, SAPOConfig, WindowConfig
from . import _training as training
from ._critic import Critic, ValueFunction
from ._encoder import EncodedMLP, Encoder
from ._mlp import MLP
from ._observations import layout_of
from ._policy import GaussianActor, GaussianPolicy
from ._state import from_arrays, to_arrays


class ActorState(training.Worlds, Protocol):
    """The state of an algorithm with an actor."""

    @property
    def actor(self) -> Tensor:
        """Flat parameters of the actor."""
        ...


class CriticState(ActorState, Protocol):
    """The state of an algorithm with an actor and critics."""

    @property
    def critic(self) -> Tensor:
        """Flat parameters of the critics, one after another."""
        ...


class Networks(NamedTuple):
    actor: GaussianActor
    critic: Critic


Config = TypeVar("Config", bound=WindowConfig)
State = TypeVar("State", bound=ActorState)
ValueState = TypeVar("ValueState", bound=CriticState)


@dataclass(frozen=True)
class Learner(ABC, Generic[Config, State]):
    """An algorithm but for its own mathematics: ``init``, ``_actor`` and ``_update`` are left to it."""

    config: Config

    @abstractmethod
    def _actor(self, env: Env) -> GaussianActor: ...

    @abstractmethod
    def _update(self, state: State) -> tuple[State, Metrics]: ...

    def update(self, state: State) -> tuple[State, Metrics]:
        """One update, as the class describes it: the next state, and its figures."""
        with training.settings(self.config):
            return self._update(state)

    def policy(self, state: State, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now; deterministic, it is ``tanh(mu)``."""
        shift, scale = training.normalizer(self.config, state)
        generator = None if deterministic else torch.Generator(state.obs.device).manual_seed(seed)
        return GaussianPolicy(self._actor(state.env), state.actor, shift, scale, generator, layout_of(state.env))

    def to_arrays(self, state: State) -> dict[str, np.ndarray]:
        """The state as named arrays, for a checkpoint."""
        return to_arrays(state)

    def from_arrays(self, state: State, arrays: Mapping[str, np.ndarray]) -> State:
        """The state that ``arrays`` hold, with the environment and the structure of ``state``.

        Raises:
            ValueError: a name, shape or dtype is not that of ``state``; the message names it.
        """
        return from_arrays(state, arrays)


@dataclass(frozen=True)
class CriticLearner(Learner[Config, State]):
    """A learner with critics."""

    @abstractmethod
    def _critic(self, env: Env) -> Critic: ...

    def _networks(self, env: Env) -> Networks:
        return Networks(self._actor(env), self._critic(env))


@dataclass(frozen=True)
class ValueLearner(CriticLearner[Config, ValueState]):
    """A learner whose critics are value functions."""

    def value(self, state: ValueState) -> ValueFunction:
        """The critics' mean value of observations, for viewers."""
        shift, scale = training.normalizer(self.config, state)
        return ValueFunction(self._critic(state.env), state.critic, shift, scale, layout=layout_of(state.env))


def spread_actor(config: AGPOConfig | SAPOConfig, env: Env, encoder: Encoder | None = None) -> GaussianActor:
    """An actor whose deviation may depend on the state, within bounds."""
    outputs = (2 if config.state_dependent_std else 1) * env.spec.num_actions
    width = env.spec.num_obs if encoder is None else encoder.width
    mlp = MLP((width, *config.actor_hidden, outputs), config.activation)
    network = mlp if encoder is None else EncodedMLP(encoder, mlp)
    return GaussianActor(network, config.state_dependent_std, (config.logstd_min, config.logstd_max))
