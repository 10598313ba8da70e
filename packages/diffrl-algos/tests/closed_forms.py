"""One-dimensional worlds in float64 whose expected gradients are known, for ``diagnose``.

The action is ``a = mean + sigma eps``, not squashed. A world is a function of the state and the action to the next
state and the reward; episodes end after ``horizon`` steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffrl_algos.torch import Gaussian
from diffsim_core import EnvSpec, EnvState, Transition

Rule = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(x [N, 1], a [N, 1], t [N]) -> (next x [N, 1], reward [N])``."""


class Place(NamedTuple):
    x: Tensor


class World:
    """An environment that is not made of a simulator and a task, only of a rule."""

    def __init__(self, num_envs: int, rule: Rule, *, horizon: int = 64, differentiable: bool = True) -> None:
        self.num_envs, self.rule = num_envs, rule
        self.spec = EnvSpec(
            name="closed", num_obs=1, num_actions=1, dt=0.1, horizon=horizon, differentiable=differentiable
        )

    def reset(self, seed: int) -> tuple[EnvState, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.num_envs, 1, generator=generator, dtype=torch.float64)
        t = torch.zeros(self.num_envs, dtype=torch.int32)
        return EnvState(Place(x), (), t, t.clone(), torch.tensor(seed)), x

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        x, reward = self.rule(state.physics.x, action, state.t)
        t = state.t + 1
        ended = t >= self.spec.horizon
        never = torch.zeros_like(ended)
        first = torch.where(ended[:, None], torch.zeros_like(x), x)
        after = EnvState(Place(first), (), torch.where(ended, 0, t), state.episode + ended.int(), state.seed)
        return after, Transition(reward, never, ended, x, first, never, {})


def feedback(gain: float, sigma: float) -> Callable[[Tensor], Gaussian]:
    """The policy ``N(-gain x, sigma^2)``."""
    return lambda obs: Gaussian(-gain * obs, torch.full_like(obs, sigma).log())


def quadratic(x: Tensor, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """``x' = x + a / 2``, reward ``-x'^2 - a^2 / 10``: the linear-quadratic regulator."""
    after = x + 0.5 * a
    return after, -(after**2 + 0.1 * a**2)[:, 0]


def stair(height: float, slope: float, after: int = 0) -> Rule:
    """Reward ``height [a > 0] - slope a``; the stair is there from step ``after`` on."""

    def rule(x: Tensor, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        jump = torch.where(t >= after, height, 0.0) * (a[:, 0] > 0)
        return x, jump - slope * a[:, 0]

    return rule


def folded(x: Tensor, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """``x' = sin(400 x + a)``, reward ``x'``: finite states, and derivatives that grow 200-fold in a step."""
    after = torch.sin(400.0 * x + a)
    return after, after[:, 0]
