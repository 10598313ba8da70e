"""PE: policy enhancement (Qiao, Liang, Koltun & Lin 2021), the value of an action from one simulated step.

The critic's derivative by the action is taken apart by Bellman's equation: the simulator has that of the reward and of
the next state exactly, and only the value of the next state is learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Transition, stop_gradient

from .._configs import PEConfig
from . import _on_policy as on_policy
from ._on_policy import Window
from ._policy_gradient import PolicyGradient, PolicyGradientState


@dataclass(frozen=True)
class PE(PolicyGradient):
    """Policy enhancement: up ``r(s, a) + gamma V(s')`` at every state of a window, through one step each."""

    config: PEConfig = field(default_factory=PEConfig)
    name: str = field(default="pe", init=False)

    def _estimate(self, window: Window, actor: Tensor, state: PolicyGradientState) -> tuple[Tensor, dict[str, Tensor]]:
        # With an end after every step, each of them is a piece of its own: r + gamma V(s').
        terminated, done = window.ends
        values = gradest.reparameterised_objective(
            window.trajectory.reward, window.value_next, terminated, torch.ones_like(done), gamma=self.config.gamma
        )
        objective = values.sum() / done.numel()
        (gradient,) = torch.autograd.grad(objective, actor)
        return gradient, {"actor_loss": -objective}

    def _collect(self, state: PolicyGradientState, actor: Tensor, generator: torch.Generator) -> Window:
        return on_policy.collect(self.config, state, actor, generator, env=_Steps(state.env))


class _Steps:
    """Worlds through which no gradient passes from one step to the next."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.spec, self.num_envs = env.spec, env.num_envs

    def reset(self, seed: int) -> tuple[EnvState, Tensor]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        state, step = self._env.step(state, action)
        return stop_gradient(state), step._replace(obs=step.obs.detach())
