"""Plain policy gradients: one window, one step of Adam up an estimate of the gradient, one fit of the critic.

LR, RP, LR+RP and policy enhancement share this (Son et al. 2023, 7.4.1), and so does AoBG (Suh et al. 2022); each has
its estimate in a file of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from .._configs.advantages import AdvantageConfig
from ._account import Clock, Learned
from ._on_policy import AdvantageLearner, Advantages, OnPolicyState
from ._window import Between, Window

ConfigT = TypeVar("ConfigT", bound=AdvantageConfig)


@dataclass(frozen=True)
class PolicyGradient(AdvantageLearner[ConfigT, OnPolicyState]):
    """An algorithm that is its estimate of the policy gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes one Adam step up the estimate, fits the
    critic to TD(lambda) targets and moves the target critic towards it. An update that is not finite changes no
    parameter; it is counted.
    """

    state_type = OnPolicyState
    push: ClassVar[bool] = False
    """Whether the estimate needs gradients with respect to single actions; see ``Window.push``."""
    between: ClassVar[Between | None] = None
    """What happens to the graph between two steps; see ``explore``."""

    @property
    def trials(self) -> int:
        """Windows that an estimate rolls out besides the one that it is given."""
        return 0

    def options(self, state: OnPolicyState) -> dict[str, Any]:
        """Options of ``explore`` for a window."""
        return {"between": type(self).between, "push": self.push}

    @abstractmethod
    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of the objective with respect to the flat parameters ``actor``, and metrics."""

    def learn(self, state: OnPolicyState, generator: torch.Generator, clock: Clock) -> Learned:
        with torch.set_grad_enabled(self.gradients):
            actor, window, values = self.collect(state, generator, **self.options(state))
        clock.lap("rollout_s")
        finish = self.begin_fit_values(state, values, generator)
        gradient, estimates = self.estimate(window, values, actor, state)
        changes, metrics = self.step(state, -gradient, window)
        clock.lap("backward_s")
        fitted, critic_loss = finish()
        metrics |= {**estimates, "critic_loss": critic_loss, "value_mean": values.target_value.mean()}
        clock.lap("critic_s")
        finite = (metrics["grad_norm"], values.target_value, values.x, values.advantage.detach())
        fields: dict[str, Any] = {}
        if self.trials:
            fields = {"host": {"trials": self.trials}, "extra_steps": self.trials * window.lost.numel()}
        return self.learned(state, window, changes | fitted, metrics, *finite, **fields)
