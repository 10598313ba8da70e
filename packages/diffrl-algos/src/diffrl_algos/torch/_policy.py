"""Gaussian policies squashed to [-1, 1]: the network, one window of it, and the policy that is handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ._distributions import Gaussian
from ._gate import Gate
from ._mlp import MLP, Network
from ._observations import Layout

Params = tuple[tuple[Tensor, ...], Tensor | None]
"""Layers of the network, and ``log sigma [na]`` where it does not depend on the state."""


Pull = Callable[[Gaussian], tuple[Tensor, Tensor, Tensor]]
"""A loss, a scalar, and its gradients by mean ``[B, na]`` and ``log sigma``, of that shape or the parameter's."""


def by_autograd(loss: Callable[[Gaussian], Tensor]) -> Pull:
    """The gradients of ``loss`` by autograd."""

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
    """

    mlp: Network
    state_dependent: bool = False
    logstd_range: tuple[float, float] | None = None
    """``log sigma`` is clamped to this."""

    @property
    def num_actions(self) -> int:
        return self.mlp.sizes[-1] // 2 if self.state_dependent else self.mlp.sizes[-1]

    def init(self, generator: torch.Generator, *, logstd: float, gain: float | None = None) -> Tensor:
        """Flat initial parameters; ``logstd`` matters only where it does not depend on the state."""
        network = self.mlp.init(generator, gain=gain)
        if self.state_dependent:
            return network
        return torch.cat([network, torch.full((self.num_actions,), logstd, device=generator.device)])

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
        """A loss of the distributions at ``x [B, no]``, and its gradient by the flat parameters, by hand.

        At some dozen rows a graph of the whole takes three times as long. ``pull`` gives the loss and its gradient by
        mean and ``log sigma``; ``by_autograd`` makes one of a loss.
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


class NoisyPolicy:
    """The stochastic policy for one window, differentiable in its parameters; it remembers what it did."""

    def __init__(self, actor: GaussianActor, flat: Tensor, shift: Tensor, scale: Tensor, eps: Tensor) -> None:
        """``eps``: standard normal numbers for every step, ``[T, N, na]``; ``shift``, ``scale``: of observations."""
        self._actor, self._shift, self._scale = actor, shift, scale
        self._params = actor.split(flat)
        logstd = self._params[1]
        # Where sigma is a parameter, the noise of the whole window is one product.
        self._noise = iter((eps if logstd is None else eps * logstd.exp()).unbind(0))
        self._steps: list[tuple[Gaussian, Tensor]] = []
        self._gate = Gate()

    def __call__(self, obs: Tensor) -> Tensor:
        gaussian = self._actor(self._params, torch.addcmul(self._shift, obs, self._scale))
        noise = next(self._noise)
        if self._params[1] is None:
            noise = noise * gaussian.logstd.exp()
        u = gaussian.mean + noise
        self._steps.append((gaussian, u))
        return self._gate(torch.tanh(u))

    def gaussian(self) -> Gaussian:
        """Distributions of all steps so far, ``[T, N, na]``."""
        mean = torch.stack([gaussian.mean for gaussian, _ in self._steps])
        logstd = self._params[1]
        if logstd is None:
            logstd = torch.stack([gaussian.logstd for gaussian, _ in self._steps])
        return Gaussian(mean, logstd)

    def samples(self) -> Tensor:
        """Actions of all steps so far before tanh, ``[T, N, na]``."""
        return torch.stack(self.each_sample())

    def each_sample(self) -> list[Tensor]:
        """The same step by step, ``T`` tensors ``[N, na]``: the very ones that acted, to differentiate by."""
        return [u for _, u in self._steps]

    def lost_gradients(self) -> Tensor:
        """Part of the actions of all worlds and steps whose gradient was too large to be used, a scalar."""
        return self._gate.lost(self._shift)


@dataclass(frozen=True)
class GaussianPolicy:
    """A trained actor with the observation statistics it was trained with: ``[N, no] -> [N, na]``."""

    actor: GaussianActor
    params: Tensor
    shift: Tensor
    scale: Tensor
    generator: torch.Generator | None
    """Source of ``eps``; None for the deterministic policy ``tanh(mu(obs))``."""
    layout: Layout | None = None
    """Where the arrays of an observation that is a mapping lie in the vector ``[N, no]``."""

    @torch.no_grad()
    def __call__(self, obs: Tensor | Mapping[str, Tensor]) -> Tensor:
        obs = cast("Tensor", obs) if self.layout is None else self.layout.flatten(obs)
        mean, logstd = self.actor(self.actor.split(self.params), torch.addcmul(self.shift, obs, self.scale))
        if self.generator is not None:
            eps = torch.randn(mean.shape, generator=self.generator, dtype=mean.dtype, device=mean.device)
            mean = torch.addcmul(mean, eps, logstd.exp())
        return torch.tanh(mean)


@dataclass(frozen=True)
class DeterministicPolicy:
    """``tanh(mlp(obs))`` with the observation statistics it was trained with: ``[N, no] -> [N, na]``."""

    mlp: MLP
    params: Tensor
    shift: Tensor
    scale: Tensor

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        return torch.tanh(self.mlp(self.mlp.split(self.params), torch.addcmul(self.shift, obs, self.scale)))
