"""Gaussian policies squashed to [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._mlp import MLP


@dataclass(frozen=True)
class GaussianActor:
    """``a = tanh(mu(obs) + sigma eps)`` with a state-independent ``log sigma`` (Xu et al. 2022, 3.3).

    Parameters are one flat tensor: the network's, then ``log sigma [na]``.
    """

    mlp: MLP

    @property
    def num_actions(self) -> int:
        return self.mlp.sizes[-1]

    def init(self, generator: torch.Generator, *, logstd: float) -> Tensor:
        sigma = torch.full((self.num_actions,), logstd, device=generator.device)
        return torch.cat([self.mlp.init(generator, orthogonal=False), sigma])

    def split(self, flat: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Layers of the network, and ``log sigma``."""
        network, logstd = flat.split([self.mlp.num_params, self.num_actions])
        return self.mlp.split(network), logstd


@dataclass(frozen=True)
class GaussianPolicy:
    """A trained actor with the observation statistics it was trained with: ``[N, no] -> [N, na]``."""

    actor: GaussianActor
    params: Tensor
    shift: Tensor
    scale: Tensor
    generator: torch.Generator | None
    """Source of ``eps``; None for the deterministic policy ``tanh(mu(obs))``."""

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        layers, logstd = self.actor.split(self.params)
        action = self.actor.mlp(layers, torch.addcmul(self.shift, obs, self.scale))
        if self.generator is not None:
            eps = torch.randn(action.shape, generator=self.generator, dtype=action.dtype, device=action.device)
            action = torch.addcmul(action, eps, logstd.exp())
        return torch.tanh(action)
