"""Multilayer perceptrons of flax whose parameters are one flat array, in the order of those in torch.

So a checkpoint's arrays mean the same in both frameworks, and an optimiser step is a handful of operations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from .._config import Activation

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}
_LN_EPS = 1e-5


class Layers(nn.Module):
    """``Dense -> activation -> LayerNorm`` for each hidden layer and a linear output (Xu et al. 2022, A.2.2)."""

    sizes: tuple[int, ...]
    """Widths from input to output."""
    activation: Activation = "elu"
    layer_norm: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``[..., sizes[0]] -> [..., sizes[-1]]``."""
        for k, width in enumerate(self.sizes[1:-1]):
            x = _ACTIVATIONS[self.activation](nn.Dense(width, name=f"dense_{k}")(x))
            if self.layer_norm:
                # The fast variance, flax's default, is a difference of large numbers.
                x = nn.LayerNorm(epsilon=_LN_EPS, use_fast_variance=False, name=f"norm_{k}")(x)
        return nn.Dense(self.sizes[-1], name=f"dense_{len(self.sizes) - 2}")(x)


@dataclass(frozen=True)
class MLP:
    """``Layers`` with flat parameters: of each layer weight ``[out, in]``, bias and, where it is
    normalised, scale and shift."""

    sizes: tuple[int, ...]
    """Widths from input to output, for instance ``(37, 128, 64, 32, 8)``."""
    activation: Activation = "elu"
    layer_norm: bool = True

    @cached_property
    def layers(self) -> Layers:
        """The network in flax."""
        return Layers(self.sizes, self.activation, self.layer_norm)

    @cached_property
    def entries(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Layer, parameter and shape, in the order of the flat array; kernels are turned."""
        found: list[tuple[str, str, tuple[int, ...]]] = []
        last = len(self.sizes) - 2
        for k, (n_in, n_out) in enumerate(itertools.pairwise(self.sizes)):
            found += [(f"dense_{k}", "kernel", (n_out, n_in)), (f"dense_{k}", "bias", (n_out,))]
            if self.layer_norm and k < last:
                found += [(f"norm_{k}", "scale", (n_out,)), (f"norm_{k}", "bias", (n_out,))]
        return found

    @cached_property
    def num_params(self) -> int:
        """Length of the flat array."""
        return sum(math.prod(shape) for _, _, shape in self.entries)

    def tree(self, flat: Array) -> dict[str, Any]:
        """The variables of ``layers``, from ``flat [num_params]``; differentiable."""
        params: dict[str, dict[str, Array]] = {}
        place = 0
        for layer, name, shape in self.entries:
            part = flat[place : place + math.prod(shape)].reshape(shape)
            params.setdefault(layer, {})[name] = part.T if name == "kernel" else part
            place += math.prod(shape)
        return {"params": params}

    def flat(self, variables: Any) -> Array:
        """The inverse of ``tree``."""
        params = variables["params"]
        parts = [params[layer][name] for layer, name, _ in self.entries]
        return jnp.concatenate([(part.T if part.ndim > 1 else part).ravel() for part in parts])

    def init(self, key: Array, *, gain: float | None) -> Array:
        """Flat initial parameters ``[num_params]``, float32.

        With a ``gain``, weights are orthogonal times it and biases 0; with None they are as torch's ``Linear`` has
        them: uniform in +-1/sqrt(n_in), biases too. Scales of the normalisation are 1, shifts 0.
        """
        parts = []
        for n, (layer, name, shape) in enumerate(self.entries):
            own = jax.random.fold_in(key, n)
            fan_in = self.sizes[int(layer.partition("_")[2])]
            if layer.startswith("norm"):
                part = jnp.full(shape, float(name == "scale"))
            elif gain is None:
                bound = 1.0 / math.sqrt(fan_in)
                part = jax.random.uniform(own, shape, minval=-bound, maxval=bound)
            elif name == "kernel":
                part = jax.nn.initializers.orthogonal(gain)(own, shape, jnp.float32)
            else:
                part = jnp.zeros(shape)
            parts.append(part.astype(jnp.float32).ravel())
        return jnp.concatenate(parts)

    def __call__(self, flat: Array, x: Array) -> Array:
        """``[..., sizes[0]] -> [..., sizes[-1]]`` with parameters ``flat [num_params]``; differentiable."""
        out: Any = self.layers.apply(self.tree(flat), x)
        return out
