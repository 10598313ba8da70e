"""A window of steps for AGPO: judged by the gradients that each step gives alone, then linked as their credit says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, Transition

from .._configs import AGPOConfig
from ._state import map_leaves


class Opening:
    """How far the links of one window are open; it holds no graph, so that the graph may hold it."""

    factor: Tensor | None = None
    """``[T, N]``, what of its gradient the state after each step passes back to the step; None: nothing at all."""


class Link(torch.autograd.Function):
    """Where two steps of a window hang together, or (``step`` -1) an action and the policy that took it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, opening: Opening, step: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.opening, ctx.step = opening, step
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        factor = ctx.opening.factor
        if factor is None:
            return None, None, None
        (g,) = grad_outputs
        if ctx.step < 0:
            return g, None, None
        shape = (-1,) + (1,) * (g.dim() - 1)
        # A world whose step has no finite gradient teaches by its Q function: zero times infinity would be NaN.
        passes = torch.isfinite(g).flatten(1).all(1) & (factor[ctx.step] > 0)
        return torch.where(passes.view(shape), g * factor[ctx.step].view(shape), 0.0), None, None


class Judge:
    """Stands between ``rollout`` and the worlds for one window.

    Every state and action that it passes on can be closed to gradients. While all are closed, one backward pass gives
    the gradient of every single step at its action (``ratio``; Gao et al. 2024, Eq. 1); then ``open`` them as far as
    the credit goes, for the backward pass of the window.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self.spec, self.num_envs = env.spec, env.num_envs
        self._opening = Opening()
        self._taken: list[Tensor] = []

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        now, opening = len(self._taken), self._opening
        taken = Link.apply(action, opening, -1)
        self._taken.append(taken)
        state, step = self._env.step(state, taken)

        def link(name: str, leaf: Any) -> Any:
            return Link.apply(leaf, opening, now) if isinstance(leaf, Tensor) and leaf.requires_grad else leaf

        physics, task = map_leaves(link, (state.physics, state.task))
        return state._replace(physics=physics, task=task), step._replace(obs=link("obs", step.obs))

    def open(self, factor: Tensor) -> None:
        """``factor [T, N]``: what of its gradient the state after each step passes back to the step."""
        self._opening.factor = factor

    def ratio(self, window: Trajectory, q: Tensor, q_next: Tensor, config: AGPOConfig) -> Tensor:
        """Mixture ratio ``alpha [T]`` of every step (Eq. 3, or ours), for ``q``, ``q_next`` ``[T, N]``."""
        if config.ratio == "fixed":
            return torch.full_like(q[:, 0].detach(), config.fixed_ratio)
        follows = torch.where(window.terminated, torch.zeros_like(q_next), q_next)
        simulated = (config.reward_scale * window.reward + config.gamma * follows).sum()
        first = torch.stack(torch.autograd.grad(simulated, self._taken, retain_graph=True))
        (zeroth,) = torch.autograd.grad(q.sum(), window.action, retain_graph=True)
        # Worlds that end with a step are no measure: what follows them is another thing, or nothing.
        return gradest.adaptive_ratio(
            first,
            zeroth,
            ~window.done,
            variance=config.variance,
            nonfinite=config.nonfinite,
            tolerance=config.tolerance if config.ratio == "tolerant" else None,
        )
