"""What PPO, GI-PPO and the plain policy gradients share: values in units of their own, and advantages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from .._configs.advantages import AdvantageConfig
from ._critic import ValueFunction
from ._fit import fits_natively
from ._learner import ValueLearner
from ._normalize import Normalizer, RunningStats, value_units
from ._run_state import CriticState
from ._window import Window


@dataclass(frozen=True)
class AdvantageState(CriticState):
    """A state whose critic gives values in units of ``value_stats``."""

    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1."""


@dataclass(frozen=True)
class OnPolicyState(AdvantageState):
    """An ``AdvantageState`` with a target critic."""

    target: Tensor
    """Flat parameters of the target critic, which gives the values."""


class Advantages(NamedTuple):
    """The values and advantages of a window. Rows of all ``[T, N]`` arrays belong together."""

    x: Tensor
    """``[T, N, no]`` normalised observations of the policy, without graph."""
    value: Tensor
    """``[T, N]`` value of them."""
    value_next: Tensor
    """``[T, N]`` value of the next observation of each step."""
    advantage: Tensor
    """``[T, N]`` generalised advantages, with graph if the window was recorded."""
    target_value: Tensor
    """``[T, N]`` TD(lambda) targets, without graph; see ``Window.targets``."""
    taken: Tensor
    """``[T, N]`` bool: steps that were taken. The advantage of the others is 0."""

    def standardised(self) -> Tensor:
        """Advantages shifted and scaled to mean 0 and standard deviation 1, without graph."""
        return standardised(self.advantage, self.taken)


ConfigT = TypeVar("ConfigT", bound=AdvantageConfig)
AdvantageStateT = TypeVar("AdvantageStateT", bound=AdvantageState)


@dataclass(frozen=True)
class AdvantageLearner(ValueLearner[ConfigT, AdvantageStateT]):
    """A learner that takes advantages from a critic with units of its own."""

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        return {**super().first(env, obs, generator), "value_stats": RunningStats.init(1, obs.device)}

    def collect(
        self, state: AdvantageStateT, generator: torch.Generator, **options: Any
    ) -> tuple[Tensor, Window, Advantages]:
        """A window and its advantages, after the actor's parameters; see ``explore`` for the options."""
        flat, normalize, window = self.explore(state, generator, **options)
        return flat, window, self.advantages(state, window, normalize)

    def advantages(self, state: AdvantageStateT, window: Window, normalize: Normalizer) -> Advantages:
        """The values and advantages of a window."""
        c, critic, steps = self.config, self.critic(state.env), window.trajectory
        params = state.target if isinstance(state, OnPolicyState) else state.critic
        mean, std = value_units(state.value_stats, state.run.obs, c.normalize_value)
        x = normalize(steps.obs)
        native = fits_natively(c, critic, x.device)
        inputs = (x, normalize(steps.final_obs))
        value, value_next = (mean + std * critic.values(params, each, native=native)[0] for each in inputs)
        advantage = gradest.gae(steps.reward, value, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        known = value.detach()
        target_value = window.targets((advantage + value).detach(), known)
        advantage = torch.where(steps.valid, advantage, target_value - known)
        return Advantages(x.detach(), value, value_next, advantage, target_value, window.taken)

    def begin_fit_values(
        self, state: AdvantageStateT, values: Advantages, generator: torch.Generator, **options: Any
    ) -> Callable[[], tuple[dict[str, Any], Tensor]]:
        """Begin to fit the critic to the TD(lambda) targets; see ``begin_fit``."""
        value_stats = state.value_stats.update(values.target_value.reshape(-1, 1))
        mean, std = value_units(value_stats, state.run.obs, self.config.normalize_value)
        y = (values.target_value - mean) / std
        fit = self.begin_fit(state, values.x, y, generator, **options)

        def finish() -> tuple[dict[str, Any], Tensor]:
            changes, loss = fit()
            return {**changes, "value_stats": value_stats}, loss

        return finish

    def fit_values(
        self, state: AdvantageStateT, values: Advantages, generator: torch.Generator, **options: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """What ``begin_fit_values`` gives in the end, here and now."""
        return self.begin_fit_values(state, values, generator, elsewhere=False, **options)()

    def value(self, state: AdvantageStateT) -> ValueFunction:
        """The critic's value of observations, for viewers."""
        mean, std = value_units(state.value_stats, state.run.obs, self.config.normalize_value)
        return replace(super().value(state), mean=mean, std=std)


def standardised(advantage: Tensor, taken: Tensor) -> Tensor:
    """Advantages shifted and scaled to mean 0 and standard deviation 1, without graph; 0 where ``taken`` is false."""
    advantage = advantage.detach()
    if advantage.numel() < 2:  # one row is its own mean
        return torch.zeros_like(advantage)
    return torch.where(taken, (advantage - advantage.mean()) / (advantage.std() + 1e-8), 0.0)
