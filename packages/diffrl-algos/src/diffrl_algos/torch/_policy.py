"""Gaussian policies squashed to [-1, 1]: the network, one window of it, and the policy that is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ._distributions import Gaussian
from ._encoder import EncodedMLP
from ._mlp import MLP
from ._observations import Layout

Params = tuple[tuple[Tensor, ...], Tensor | None]
"""Layers of the network, and ``log sigma [na]`` where it does not depend on the state."""


@dataclass(frozen=True)
class GaussianActor:
    """``a = tanh(mu(obs) + sigma eps)``, with ``log sigma`` a parameter or a second output of the network.

    Parameters are one flat tensor: the network's, then ``log sigma [na]`` if it does not depend on the state, as in
    SHAC (Xu et al. 2022, 3.3). If it does, as in SAPO (Xing et al. 2024, B.1 III), the network has ``2 na`` outputs.
    """

    mlp: MLP | EncodedMLP
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

    def __call__(self, obs: Tensor) -> Tensor:
        gaussian = self._actor(self._params, torch.addcmul(self._shift, obs, self._scale))
        noise = next(self._noise)
        if self._params[1] is None:
            noise = noise * gaussian.logstd.exp()
        u = gaussian.mean + noise
        self._steps.append((gaussian, u))
        return torch.tanh(u)

    def gaussian(self) -> Gaussian:
        """Distributions of all steps so far, ``[T, N, na]``."""
        mean = torch.stack([gaussian.mean for gaussian, _ in self._steps])
        logstd = self._params[1]
        if logstd is None:
            logstd = torch.stack([gaussian.logstd for gaussian, _ in self._steps])
        return Gaussian(mean, logstd)

    def samples(self) -> Tensor:
        """Actions of all steps so far before tanh, ``[T, N, na]``."""
        return torch.stack([u for _, u in self._steps])


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
