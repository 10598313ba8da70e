"""Adaptive Horizon Actor-Critic (Georgiev et al. 2024)

SHAC whose windows are as long as the steps inside them are smooth. Georgiev, Srinivasan, Xu, Heiden & Garg, Adaptive
Horizon Actor-Critic for Policy Learning in Contact-Rich Differentiable Simulation, ICML 2024 (arXiv:2405.17784). The
page of AHAC says which formula is taken from which source.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Env
from diffsim_core.options import Count, NotNegative, Positive

from ..._config import CriticConfig, Decay, GaussianConfig, Widths, require
from .._account import Clock, Learned
from .._beside import beside
from .._critic import Critic
from .._fit import fits_natively
from .._learner import ValueLearner
from .._networks import value_critic
from .._run_state import TargetState
from .._schedules import learning_rate
from .._stiffness import StiffnessProbe, mean_stiffness

_SETTLED = 5
"""Number of changes of the critics' loss that ``critic_tolerance`` averages over (released code)."""


@dataclass(frozen=True, kw_only=True)
class AHACConfig(GaussianConfig, CriticConfig):
    """Adaptive Horizon Actor-Critic (Georgiev et al. 2024).

    The defaults are those of the authors' released configuration where it has them. The page of AHAC says which, and
    how it reads what the sources leave open.
    """

    horizon: Count = 8
    """Control steps in the first window."""
    horizon_min: Count = 8
    """Control steps in the shortest window."""
    horizon_max: Count = 64
    """Control steps in the longest window."""
    horizon_lr: NotNegative = 0.01
    """Rate of the multipliers and of the horizon at the first update; it falls as the learning rates do."""
    stiffness_max: Positive = 30.0
    """Stiffness that a step should not exceed: by how much a random change of the state grows in one control step."""
    stiff: Literal["shortens", "lengthens"] = "shortens"
    """The effect of stiff steps on the horizon: as in the paper, or as the signs in the released code make it."""
    shared_multiplier: bool = False
    """Start every update with the first step's multiplier for all steps, as the released code does."""
    actor_hidden: Widths = (400, 200, 100)
    """Widths of the actor's hidden layers (released configuration)."""
    critic_hidden: Widths = (400, 200, 100)
    """Widths of the critics' hidden layers (released configuration)."""
    num_critics: Count = 2
    """Critics, each fitted to the same targets; the least of their values counts."""
    critic_iterations: Count = 64
    """Largest number of epochs of the critics over a window."""
    critic_tolerance: NotNegative = 0.2
    """The epochs end once the critics' loss changes by less than this from epoch to epoch, on average over the last
    five. With 0 all epochs are run."""
    target_alpha: Decay = 0.0
    """Share of the target critics kept at each update; at 0 they equal the critics, as in the released code."""

    def steps_of_update(self, num_envs: int, episode: Callable[[], int]) -> int:
        return num_envs * self.horizon_max

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.horizon_min, self.horizon_max
        require("horizon_max", high, high >= low, f"at least horizon_min, which is {low}")
        require("horizon", self.horizon, low <= self.horizon <= high, f"from horizon_min {low} to horizon_max {high}")


@dataclass(frozen=True)
class AHACState(TargetState):
    """The state of an AHAC run."""

    horizon: Tensor
    """Length of the next window before it is rounded, a float64 scalar [control steps]."""
    multipliers: Tensor
    """Of the constraint on each step of a window, float64 ``[horizon_max]``."""


@dataclass(frozen=True)
class AHAC(ValueLearner[AHACConfig, AHACState]):
    """Adaptive Horizon Actor-Critic.

    Each update rolls the stochastic policy out for as many steps as the horizon says, measures the stiffness of each
    step, takes one Adam step up the gradient of the discounted rewards plus the least of the critics' values of the
    last observation, moves the horizon, and fits the critics to TD(lambda) targets until their loss settles. An update
    whose gradient is not finite changes neither a parameter nor the horizon; it is counted.
    """

    config: AHACConfig = field(default_factory=AHACConfig)
    name: ClassVar[str] = "ahac"
    state_type = AHACState

    @property
    def window(self) -> int:
        return self.config.horizon_max

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        horizon = torch.tensor(self.config.horizon, dtype=torch.float64)
        multipliers = torch.zeros(self.config.horizon_max, dtype=torch.float64)
        return {**super().first(env, obs, generator), "horizon": horizon, "multipliers": multipliers}

    def learn(self, state: AHACState, generator: torch.Generator, clock: Clock) -> Learned:
        c, env, length = self.config, state.env, round(float(state.horizon))
        probe = StiffnessProbe(env, generator)

        # The window and its value.
        actor, normalize, window = self.explore(state, generator, horizon=length, env=probe)
        steps, stiffness = mean_stiffness(window.trajectory)
        window = window._replace(trajectory=steps)
        values = self.critic(env)(state.target, normalize(steps.final_obs))
        value_next = values.amin(0)
        loss = -gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma)
        clock.lap("rollout_s")

        # The critics' targets. Compiled code fits them beside the backward pass.
        reward = steps.reward.detach()
        target_value = gradest.td_lambda(reward, value_next.detach(), *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next.detach())
        x = normalize(steps.obs.detach())
        finish = self._begin_until_settled(state, x, target_value, generator)

        # One step of the actor, and of the horizon.
        changes, metrics = self.descend(state, loss, actor, window)
        changes["horizon"], changes["multipliers"] = self._adapt(state, stiffness.cpu().double())
        clock.lap("backward_s")

        # The critics.
        fitted, losses = finish()
        metrics |= {
            "value_mean": target_value.mean(),
            "value_spread": (values.amax(0) - values.amin(0)).mean(),
            "stiffness_mean": stiffness.mean(),
            "stiffness_max": stiffness.amax(),
        }
        host = {"horizon": length, "critic_passes": len(losses), "critic_loss": losses[-1]}
        clock.lap("critic_s")
        return self.learned(
            state, window, changes | fitted, metrics, metrics["grad_norm"], target_value, x, stiffness, host=host
        )

    def critic(self, env: Env) -> Critic:
        return value_critic(self.config, env, self.config.num_critics)

    def _adapt(self, state: AHACState, stiffness: Tensor) -> gradest.HorizonStep:
        """The horizon after a window of that stiffness ``[T]``."""
        c, multipliers = self.config, state.multipliers
        return gradest.adapt_horizon(
            state.horizon,
            multipliers[:1].expand_as(multipliers) if c.shared_multiplier else multipliers,
            stiffness,
            threshold=c.stiffness_max,
            lr=learning_rate(c, c.horizon_lr, state),
            low=c.horizon_min,
            high=c.horizon_max,
            stiff=c.stiff,
        )

    def _begin_until_settled(
        self, state: AHACState, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> Callable[[], tuple[dict[str, Any], list[float]]]:
        """Begin ``_fit_until_settled``, as ``begin_fit`` begins a fit."""
        fit = functools.partial(self._fit_until_settled, state, x, y, generator)
        native = fits_natively(self.config, self.critic(state.env), x.device)
        return beside(fit) if native else fit

    def _fit_until_settled(
        self, state: AHACState, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Any], list[float]]:
        """Epochs until the loss changes little: the fields they change, and the loss of every epoch.

        The number of epochs depends on the losses, so each of them is read from the device.
        """
        c, losses = self.config, []
        one = dataclasses.replace(c, critic_iterations=1)
        fitted, changes = state, {}
        for _ in range(c.critic_iterations):
            changes, loss = self.fit(fitted, x, y, generator, config=one)
            fitted = fitted.replace(critic=changes["critic"], critic_adam=changes["critic_adam"])
            losses.append(float(loss))
            differences = np.abs(np.diff(losses[-_SETTLED - 1 :]))
            if len(differences) == _SETTLED and differences.mean() < c.critic_tolerance:
                break
        return changes, losses


ALGORITHM = AHAC
