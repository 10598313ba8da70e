"""Gaussian actors squashed to [-1, 1], and the policies that users get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ._distributions import Gaussian
from ._mlp import MLP, Network
from ._normalize import Normalizer
from ._observations import Layout

if TYPE_CHECKING:
    from ._native_policy import NativeSteps

Params = tuple[tuple[Tensor, ...], Tensor | None]
"""Layers of the network, and ``log sigma [na]`` where it does not depend on the state."""


Pull = Callable[[Gaussian], tuple[Tensor, Tensor, Tensor]]
"""A loss (a scalar) and its gradients w.r.t. the mean ``[B, na]`` and w.r.t. ``log sigma``, each in its shape."""


def by_autograd(loss: Callable[[Gaussian], Tensor]) -> Pull:
    """A ``Pull`` that differentiates ``loss`` by autograd."""

    def pull(policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for part in policy]
            value = loss(Gaussian(*leaves))
            by_mean, by_logstd = torch.autograd.grad(value, leaves)
        return value.detach(), by_mean, by_logstd

    return pull


@dataclass(frozen=True)
class GaussianActor:
    """``a = tanh(mu(obs) + sigma eps)``, with ``log sigma`` a parameter or a second output of the network.

    Parameters are one flat tensor: the network's, then ``log sigma [na]`` if it does not depend on the state, as in
    SHAC (Xu et al. 2022, 3.3). If it does, as in SAPO (Xing et al. 2024, B.1 III), the network has ``2 na`` outputs.
    ``log sigma`` is clamped to ``logstd_range``.
    """

    mlp: Network
    state_dependent: bool = False
    logstd_range: tuple[float, float] | None = None
    """``log sigma`` is clamped to this."""

    @property
    def num_actions(self) -> int:
        return self.mlp.sizes[-1] // 2 if self.state_dependent else self.mlp.sizes[-1]

    def init(self, generator: torch.Generator, *, logstd: float, gain: float | None = None) -> Tensor:
        """Flat initial parameters; ``logstd`` is the parameter, or the bias of the output that gives ``log sigma``."""
        network = self.mlp.init(generator, gain=gain)
        if not self.state_dependent:
            return torch.cat([network, torch.full((self.num_actions,), logstd, device=generator.device)])
        # The biases of the last layer end the flat tensor, and those of log sigma end them.
        network[-self.num_actions :] += logstd
        return network

    def split(self, flat: Tensor) -> Params:
        """Views of the flat parameters."""
        if self.state_dependent:
            return self.mlp.split(flat), None
        network, logstd = flat.split([self.mlp.num_params, self.num_actions])
        return self.mlp.split(network), self.clamp(logstd)

    def __call__(self, params: Params, x: Tensor) -> Gaussian:
        """Distribution of the action before tanh, for normalised observations ``x [..., no]``."""
        layers, logstd = params
        out = self.mlp(layers, x)
        if logstd is not None:
            return Gaussian(out, logstd)
        mean, logstd = out.chunk(2, dim=-1)
        return Gaussian(mean, self.clamp(logstd))

    def gradient(self, flat: Tensor, x: Tensor, pull: Pull) -> tuple[Tensor, Tensor]:
        """A loss of the distributions at ``x [B, no]`` and its gradient with respect to the flat parameters.

        The backward pass of the network is written by hand: at a few dozen rows, autograd takes three times as long.
        ``pull`` gives the loss and its gradients with respect to mean and ``log sigma``; ``by_autograd`` makes one.
        """
        layers, logstd = self.mlp.split(flat[: self.mlp.num_params]), flat[self.mlp.num_params :]
        outputs, tape = self.mlp.record(layers, x)
        mean, raw = outputs.chunk(2, dim=-1) if self.state_dependent else (outputs, logstd)
        loss, by_mean, by_logstd = pull(Gaussian(mean, self.clamp(raw)))
        by_raw = by_logstd if self.logstd_range is None else by_logstd * (raw == self.clamp(raw))
        grad = torch.empty_like(flat)
        by_outputs = torch.cat([by_mean, by_raw], dim=-1) if self.state_dependent else by_mean
        self.mlp.pull_back(layers, tape, by_outputs, self.mlp.split(grad[: self.mlp.num_params]))
        if not self.state_dependent:
            grad[self.mlp.num_params :] = by_raw.sum_to_size(raw.shape)
        return loss, grad

    def clamp(self, logstd: Tensor) -> Tensor:
        return logstd if self.logstd_range is None else logstd.clamp(*self.logstd_range)


def native_steps(actor: GaussianActor, flat: Tensor) -> NativeSteps:
    """The steps of an actor without an encoder, by compiled code."""
    from ._native_policy import NativeSteps  # which loads a compiler

    assert isinstance(actor.mlp, MLP)
    network = flat[: actor.mlp.num_params]
    return NativeSteps(actor.mlp, network, spread=actor.state_dependent, logstd_range=actor.logstd_range)


@dataclass(frozen=True)
class GaussianPolicy:
    """A trained actor with the observation statistics it was trained with: ``[N, no] -> [N, na]``."""

    actor: GaussianActor
    params: Tensor
    normalize: Normalizer
    generator: torch.Generator | None
    """Source of ``eps``; None for the deterministic policy ``tanh(mu(obs))``."""
    layout: Layout | None = None
    """Layout of a mapping of observations in the vector ``[N, no]``; None where observations are vectors."""

    @torch.no_grad()
    def __call__(self, obs: Tensor | Mapping[str, Tensor]) -> Tensor:
        obs = cast("Tensor", obs) if self.layout is None else self.layout.flatten(obs)
        mean, logstd = self.actor(self.actor.split(self.params), self.normalize(obs))
        if self.generator is not None:
            eps = torch.randn(mean.shape, generator=self.generator, dtype=mean.dtype, device=mean.device)
            mean = torch.addcmul(mean, eps, logstd.exp())
        return torch.tanh(mean)


@dataclass(frozen=True)
class DeterministicPolicy:
    """``tanh(mlp(obs))`` with the observation statistics it was trained with: ``[N, no] -> [N, na]``."""

    mlp: MLP
    params: Tensor
    normalize: Normalizer

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        return torch.tanh(self.mlp(self.mlp.split(self.params), self.normalize(obs)))
