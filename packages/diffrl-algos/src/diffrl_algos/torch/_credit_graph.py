"""AGPO's graph of a window: closed while single steps are judged, then opened as far as the credit goes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsim_core import EnvState

from .._outliers import Rule
from ._state import map_leaves


class CreditGraph:
    """Links in the graph of one window, through which gradients pass or not.

    A link stands before each step in the worlds' state and observation, and one in each action. While all are closed,
    one backward pass gives the gradient of every single step with respect to its own action (Gao et al. 2024, Eq. 1).
    ``open`` then says how much of its gradient each state passes back to the step before it.
    """

    def __init__(self, horizon: int, like: Tensor, rule: Rule | None = None) -> None:
        """``like``: an action ``[N, na]``; ``rule`` changes the gradient that reaches the actions of a step."""
        self._rule = rule
        self._factor: Tensor | None = None
        self.action_push = like.new_zeros((horizon, *like.shape), requires_grad=True)
        """``[T, N, na]`` zeros added to the actions: their gradient is that of each step with respect to its action."""
        self._pushes = self.action_push.unbind(0)

    def enter(self, step: int, action: Tensor) -> Tensor:
        """The action of a step, with its link."""
        return _Link.apply(action, self, None) + self._pushes[step]

    def between(self, step: int, state: EnvState, obs: Tensor) -> tuple[EnvState, Tensor]:
        """State and observation before a step, with the links to the step before it."""
        if step == 0:
            return state, obs

        def link(name: str, leaf: Any) -> Any:
            return _Link.apply(leaf, self, step - 1) if isinstance(leaf, Tensor) and leaf.requires_grad else leaf

        physics, task = map_leaves(link, (state.physics, state.task))
        return state._replace(physics=physics, task=task), link("obs", obs)

    def open(self, factor: Tensor) -> None:
        """Open all links; ``factor [T, N]`` multiplies the gradient that the state after each step passes back."""
        self._factor = factor.detach()

    def reaches(self, g: Tensor) -> Tensor | None:
        """What an action's link passes back of the gradient ``[N, na]``."""
        if self._factor is None:
            return None
        return g if self._rule is None else self._rule(g)

    def passed(self, step: int, g: Tensor | None) -> Tensor | None:
        """What the links after ``step`` pass back of a gradient ``[N, ...]`` of the worlds' state or observation."""
        if g is None or self._factor is None:
            return None
        factor = self._factor[step].view((-1,) + (1,) * (g.dim() - 1))
        # A world whose step has no finite gradient learns from its Q function alone. Zero times infinity would be NaN.
        passes = torch.isfinite(g).flatten(1).all(1) & (factor.flatten() > 0)
        return torch.where(passes.view(factor.shape), g * factor, 0.0)


class _Link(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: CreditGraph, step: int | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Of the graph's tensors none may depend on this one, or nothing would ever be freed: the pushes are leaves.
        ctx.graph, ctx.step = graph, step
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        (g,) = grad_outputs
        if ctx.step is not None:
            return ctx.graph.passed(ctx.step, g), None, None
        return ctx.graph.reaches(g), None, None
