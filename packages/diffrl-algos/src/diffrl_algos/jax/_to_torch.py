"""A policy learned in JAX as one in torch: the arrays mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..torch import GaussianActor as TorchActor
from ..torch._mlp import MLP
from ..torch._normalize import Normalizer
from ..torch._policy import GaussianPolicy as TorchPolicy
from ._policy import GaussianPolicy


def in_torch(policy: GaussianPolicy) -> TorchPolicy:
    """The deterministic policy ``tanh(mu(obs))`` in torch, on the CPU."""
    actor, normalize = policy.actor, policy.normalize
    mlp = MLP(actor.mlp.sizes, actor.mlp.activation, actor.mlp.layer_norm)
    shift, scale = _tensor(normalize.shift), _tensor(normalize.scale)
    bound = None if normalize.bound is None else torch.ones_like(scale) * _tensor(normalize.bound)
    network = TorchActor(mlp, actor.state_dependent, actor.logstd_range)
    return TorchPolicy(network, _tensor(policy.params), Normalizer(shift, scale, bound), None)


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
