"""A window of steps for AGPO: judged by the gradients that each step gives alone, then linked as their credit says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, Transition

from .._configs import AGPOConfig
from ._state import map_leaves


class Links(torch.autograd.Function):
    """Where steps of a window hang together; ``factor`` says how much of a gradient passes on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, judge: Judge, step: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.judge, ctx.step = judge, step
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        factor: Tensor | None = ctx.judge.factor
        if factor is None:
            return None, None, None
        (g,) = grad_outputs
        shape = (-1,) + (1,) * (g.dim() - 1)
        passed = g if ctx.step < 0 else g * factor[ctx.step].view(shape)
        # A world whose step has no finite gradient teaches by its Q function: zero times infinity would be NaN.
        finite = torch.isfinite(g).flatten(1).all(1)
        open_ = finite if ctx.step < 0 else finite & (factor[ctx.step] > 0)
        return torch.where(open_.view(shape), passed, 0.0), None, None


class Judge:
    """Stands between ``rollout`` and the worlds for one window.

    Every state and action that it passes on can be closed to gradients and opened again. Closed, one backward pass
    gives the gradients of all single steps at their actions (``ratio``; Gao et al. 2024, Eq. 1); then ``factor``
    opens them as far as the credit goes, for the backward pass of the window.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self.spec, self.num_envs = env.spec, env.num_envs
        self._taken: list[Tensor] = []
        self.factor: Tensor | None = None
        """``[T, N]``, what of its gradient the state after each step passes to the step; None: nothing at all."""

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        now = len(self._taken)
        taken = Links.apply(action, self, -1)
        self._taken.append(taken)
        state, step = self._env.step(state, taken)

        def link(name: str, leaf: Any) -> Any:
            return Links.apply(leaf, self, now) if isinstance(leaf, Tensor) and leaf.requires_grad else leaf

        physics, task = map_leaves(link, (state.physics, state.task))
        return state._replace(physics=physics, task=task), step._replace(obs=link("obs", step.obs))

    def ratio(self, window: Trajectory, q: Tensor, q_next: Tensor, config: AGPOConfig) -> Tensor:
        """Mixture ratio ``alpha [T]`` of every step (Eq. 3), for ``q``, ``q_next`` ``[T, N]``."""
        if config.ratio == "fixed":
            return torch.full_like(q[:, 0].detach(), config.fixed_ratio)
        follows = torch.where(window.terminated, torch.zeros_like(q_next), q_next)
        simulated = (config.reward_scale * window.reward + config.gamma * follows).sum()
        self.factor = None
        first = torch.stack(torch.autograd.grad(simulated, self._taken, retain_graph=True))
        (zeroth,) = torch.autograd.grad(q.sum(), window.action, retain_graph=True)
        # Worlds that end with a step are no measure: what follows them is another thing, or nothing.
        return gradest.adaptive_ratio(first, zeroth, ~window.done, variance=config.variance, nonfinite=config.nonfinite)
