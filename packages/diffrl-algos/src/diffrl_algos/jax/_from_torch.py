"""A policy learned in torch as one in JAX: the arrays mean the same."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from ..torch._mlp import MLP as TorchMLP
from ..torch._policy import DeterministicPolicy
from ..torch._policy import GaussianPolicy as TorchPolicy
from ._mlp import MLP
from ._networks import GaussianActor
from ._normalize import Normalizer
from ._policy import GaussianPolicy


def in_jax(policy: Any) -> GaussianPolicy:
    """The deterministic policy ``tanh(mu(obs))`` in JAX.

    Raises:
        ValueError: the policy has an encoder, or is no network of ours.
    """
    if isinstance(policy, DeterministicPolicy):
        mlp, params = policy.mlp, _array(policy.params)
        # In JAX every actor has a deviation, which a deterministic policy does not look at.
        actor = GaussianActor(_mlp(mlp), False, (0.0, 0.0))
        params = jnp.concatenate([params, jnp.zeros(mlp.sizes[-1], params.dtype)])
        return GaussianPolicy(actor, params, _normalizer(policy.normalize))
    if isinstance(policy, TorchPolicy) and isinstance(mlp := policy.actor.mlp, TorchMLP):
        actor = GaussianActor(_mlp(mlp), policy.actor.state_dependent, policy.actor.logstd_range or (0.0, 0.0))
        return GaussianPolicy(actor, _array(policy.params), _normalizer(policy.normalize))
    raise ValueError(
        "the policy has an encoder or a network of its own, which JAX does not have; use --format onnx or torch"
    )


def _mlp(mlp: TorchMLP) -> MLP:
    return MLP(mlp.sizes, mlp.activation, mlp.layer_norm)


def _normalizer(normalize: Any) -> Normalizer:
    bound = None if normalize.bound is None else _array(normalize.bound)
    return Normalizer(_array(normalize.shift), _array(normalize.scale), bound)


def _array(tensor: Any) -> Array:
    return jnp.asarray(tensor.detach().cpu().numpy())
