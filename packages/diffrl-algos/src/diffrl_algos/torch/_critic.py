"""Critics: several value functions of one shape in one flat tensor, and the regression that fits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from .._config import CriticConfig
from . import _distributed as distributed
from ._adam import Adam, Optimizer
from ._mlp import MLP, Network
from ._normalize import Normalizer
from ._observations import Layout


@dataclass(frozen=True)
class Critic:
    """``count`` networks of the same shape, each started on its own; one flat tensor holds them one after another."""

    mlp: Network
    count: int = 1

    def init(self, generator: torch.Generator, *, gain: float | None) -> Tensor:
        """Flat initial parameters ``[count * mlp.num_params]``."""
        return torch.cat([self.mlp.init(generator, gain=gain) for _ in range(self.count)])

    def split(self, flat: Tensor) -> list[tuple[Tensor, ...]]:
        """The layers of each network, as views."""
        return [self.mlp.split(part) for part in flat.split(self.mlp.num_params)]

    def __call__(self, flat: Tensor, x: Tensor) -> Tensor:
        """``[..., no] -> [count, ...]``; differentiable."""
        return torch.stack([self.mlp(params, x)[..., 0] for params in self.split(flat)])

    def values(self, flat: Tensor, x: Tensor, *, native: bool) -> Tensor:
        """What a call gives, by compiled code if ``native``: then differentiable once, with respect to ``x`` alone.

        Sums are taken in another order.
        """
        if not native:
            return self(flat, x)
        from ._native_policy import network_outputs  # which loads a compiler

        assert isinstance(self.mlp, MLP)
        mlp, rows = self.mlp, x.reshape(-1, x.shape[-1])
        each = [network_outputs(mlp, part, rows) for part in flat.detach().split(mlp.num_params)]
        return torch.stack(each).view(len(each), *x.shape[:-1])

    def regression_grad(
        self, params: list[tuple[Tensor, ...]], x: Tensor, y: Tensor, grads: list[tuple[Tensor, ...]]
    ) -> list[Tensor]:
        """``MLP.regression_grad`` of each network; the errors of each."""
        # One after the other: products of all networks at once are slower on a CPU.
        return [self.mlp.regression_grad(mine, x, y, grad) for mine, grad in zip(params, grads, strict=True)]


@dataclass(frozen=True)
class ValueFunction:
    """Trained critics with the statistics they were trained with: ``obs [N, no] -> [N]``, their mean."""

    critic: Critic
    params: Tensor
    normalize: Normalizer
    mean: Tensor | float = 0.0
    std: Tensor | float = 1.0
    """Units of what the critics give."""
    layout: Layout | None = None
    """Where the arrays of an observation that is a mapping lie in the vector ``[N, no]``."""
    features: Callable[[Tensor], Tensor] | None = None
    """What the critics see of normalised observations, where that is not the observations themselves."""

    @torch.no_grad()
    def __call__(self, obs: Tensor | Mapping[str, Tensor]) -> Tensor:
        obs = cast("Tensor", obs) if self.layout is None else self.layout.flatten(obs)
        x = self.normalize(obs)
        values = self.critic(self.params, x if self.features is None else self.features(x))
        return values.mean(0) * self.std + self.mean


def over_critics(values: Tensor, how: str) -> Tensor:
    """The critics' values ``[C, T, N]`` as one ``[T, N]``: their mean, or the least of them if ``how`` is ``"min"``."""
    return values.mean(0) if how == "mean" else values.amin(0)


def passes(config: CriticConfig, rows: int, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """The order of the rows in each pass of a fit, ``[rows]``: each shuffles the one before, or all keep the first."""
    order = torch.arange(rows, device=device)
    for _ in range(config.critic_iterations):
        if config.critic_shuffle:
            order = order[torch.randperm(rows, generator=generator, device=device)]
        yield order


def minibatch_rows(config: CriticConfig, rows: int) -> int:
    """Rows of a minibatch; the last one of a pass may have fewer."""
    return -(-rows // config.critic_minibatches)


def fit_critic(
    critic: Critic,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    y: Tensor,
    *,
    config: CriticConfig,
    optimizer: Optimizer,
    lr: float,
    order: Tensor,
) -> tuple[Tensor, Adam, Tensor]:
    """Fit every network to the same targets: ``critic_iterations`` passes in ``critic_minibatches`` pieces.

    The objective is ``sum_i mean((V_i(x) - y)^2)``, so that one network learns the same whatever their number, as
    long as the gradients' norm, which is taken over all of them, is not clipped.

    Args:
        critic: what to fit.
        flat: its parameters; they stay as they are.
        adam: their moments; they stay as they are.
        x: normalised inputs ``[B, no]``, in several processes of a window of ``config.horizon`` steps.
        y: targets ``[B]``.
        config: passes, pieces and their order.
        optimizer: clipping and constants of Adam.
        lr: learning rate.
        order: the rows of each pass ``[passes, B]``, in several processes of all their rows, see ``passes``.

    Returns:
        New parameters, new moments, and the mean squared error of the last pass as it went, a scalar.
    """
    flat, adam = flat.clone(), adam.clone()
    x, y = distributed.rows(x, config.horizon), distributed.rows(y, config.horizon)
    grad = torch.empty_like(flat)
    params, grads = critic.split(flat), critic.split(grad)
    size = minibatch_rows(config, len(y))
    errors: list[Tensor] = []
    for each in order:
        errors = []
        for minibatch in zip(x[each].split(size), y[each].split(size), strict=True):
            x_b, y_b = distributed.share(*minibatch)
            errors += critic.regression_grad(params, x_b, y_b, grads)
            adam, _ = optimizer.step_(flat, adam, grad, lr)
    return flat, adam, torch.cat(errors).square().mean()
