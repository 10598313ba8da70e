"""The graph of a window whose action gradients are mixed while they go back through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffsim_core import EnvState

from ._gate import LARGEST

Mix = Callable[[int, Tensor, Tensor], Tensor]
"""``(step, by_mean, blocked) -> mixture``: of the gradient by the means of a step's actions ``[N, na]``, and of the
worlds ``[N]`` whose gradient the gate blocks, the mixture by means and log deviations ``[N, 2 na]``."""


class MixedGraph:
    """Links in the graph of one window, in which every step's gradient is replaced by a mixture.

    The mixture goes on through the policy to the observation, and with it to earlier steps. ``open`` must be called
    between the roll-out and the backward pass.
    """

    def __init__(self) -> None:
        self._mix: Mix | None = None
        self._blocked: dict[int, Tensor] = {}

    def between(self, step: int, state: EnvState, obs: Tensor) -> tuple[EnvState, Tensor]:
        """State and observation before a step, as they are."""
        return state, obs

    def enter(self, step: int, action: Tensor) -> Tensor:
        """The action of a step, where it enters the worlds: there the gate's decision can be seen."""
        return _Enter.apply(action, self, step) if action.requires_grad else action

    def draw(self, step: int, mean: Tensor, logstd: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of a step's action, whose gradients are mixed."""
        return _Draw.apply(mean, logstd, self, step) if mean.requires_grad else (mean, logstd)

    def open(self, mix: Mix) -> None:
        """Say how gradients are mixed; what ``mix`` holds must have no graph."""
        self._mix = mix

    def watch(self, step: int, g: Tensor) -> None:
        self._blocked[step] = ~(g.abs() < LARGEST).all(-1)

    def mixed(self, step: int, by_mean: Tensor) -> Tensor:
        if self._mix is None:
            raise RuntimeError("MixedGraph.open was not called before the backward pass")
        none = torch.zeros(len(by_mean), dtype=torch.bool, device=by_mean.device)
        return self._mix(step, by_mean, self._blocked.pop(step, none))


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, action: Tensor, graph: MixedGraph, step: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.graph, ctx.step = graph, step
        return action.view_as(action)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        ctx.graph.watch(ctx.step, grad_outputs[0])
        return grad_outputs[0], None, None


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, logstd: Tensor, graph: MixedGraph, step: int) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.graph, ctx.step, ctx.shape = graph, step, logstd.shape
        return mean.view_as(mean), logstd.view_as(logstd)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        # The action is mean + sigma eps, so the gradient by the mean says that by the log deviation too.
        by_mean, by_logstd = ctx.graph.mixed(ctx.step, grad_outputs[0]).chunk(2, dim=-1)
        return by_mean, by_logstd.sum_to_size(ctx.shape), None, None
