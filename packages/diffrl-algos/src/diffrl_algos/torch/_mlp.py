"""Multilayer perceptrons whose parameters are one flat tensor.

At the sizes of this field (a few thousand numbers, some hundred rows) the time goes into the number of
operations. One flat tensor makes clipping one norm and an optimiser step six operations, whatever the
number of layers; ``split`` gives the layers as views of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .._config import Activation

_LN_EPS = 1e-5
_ACTIVATIONS = {"elu": F.elu, "silu": F.silu, "relu": F.relu, "tanh": torch.tanh}


class FlatParameters(ABC):
    """Something whose parameters are one flat tensor."""

    shapes: Any
    """Shapes of its parameters, ``tuple[tuple[int, ...], ...]``, in their order in the flat tensor."""

    @cached_property
    def lengths(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes]

    @property
    def num_params(self) -> int:
        """Length of the flat parameter tensor."""
        return sum(self.lengths)

    def split(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Layer parameters as differentiable views of ``flat [num_params]``."""
        parts = zip(flat.split(self.lengths), self.shapes, strict=True)
        return tuple(part.view(shape) if len(shape) > 1 else part for part, shape in parts)


class Network(FlatParameters):
    """What actors and critics need of a network."""

    sizes: tuple[int, ...]
    """Widths from input to output."""

    @abstractmethod
    def init(self, generator: torch.Generator, *, gain: float | None) -> Tensor:
        """Flat initial parameters."""

    @abstractmethod
    def __call__(self, params: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """``[..., sizes[0]] -> [..., sizes[-1]]``; differentiable."""

    @abstractmethod
    def record(self, params: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, Any]:
        """Outputs ``[B, sizes[-1]]`` without a graph, and the tape that ``pull_back`` needs."""

    @abstractmethod
    def pull_back(self, params: tuple[Tensor, ...], tape: Any, g: Tensor, grads: tuple[Tensor, ...]) -> None:
        """Write the gradient of ``sum(g * out)`` w.r.t. the parameters into ``grads``, for ``g [B, sizes[-1]]``."""

    def regression_grad(self, params: tuple[Tensor, ...], x: Tensor, y: Tensor, grads: tuple[Tensor, ...]) -> Tensor:
        """The gradient of the mean squared error of the scalar output, by hand.

        Writes d/dparams of ``mean((net(x)[:, 0] - y)^2)`` into ``grads`` (views like ``params``). A critic spends all
        its time here. Compared with autograd it saves the graph, the temporaries of the squared error and a copy of
        every gradient: about a quarter of the time at 512 rows.

        Args:
            params: ``split`` of the flat parameters; they need no gradient.
            x: inputs ``[B, sizes[0]]``.
            y: targets ``[B]``.
            grads: ``split`` of the flat tensor to write.

        Returns:
            The errors ``net(x) - y``, shape ``[B, 1]``.
        """
        out, tape = self.record(params, x)
        error = out - y[:, None]
        self.pull_back(params, tape, error * (2.0 / len(y)), grads)
        return error


class Tape(NamedTuple):
    """What a forward pass leaves for the backward pass by hand."""

    layers: list[tuple[Tensor, ...]]
    """Of each hidden layer: input, sum, activation and, if it is normalised, its mean and inverse deviation."""
    last: Tensor
    """Input of the output layer."""


@dataclass(frozen=True)
class MLP(Network):
    """``Linear -> ELU -> LayerNorm`` for each hidden layer and a linear output (Xu et al. 2022, A.2.2).

    Layer normalisation comes after the activation, as in the authors' released code. SAPO has SiLU for ELU (Xing
    et al. 2024, Table 2). Model-free baselines elsewhere mostly have ReLU or tanh and no normalisation.
    """

    sizes: tuple[int, ...]
    """Widths from input to output, for instance ``(37, 128, 64, 32, 8)``."""
    activation: Activation = "elu"
    layer_norm: bool = True

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"activation is {self.activation!r}; expected {' or '.join(_ACTIVATIONS)}")
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes is {self.sizes}; expected at least an input and an output width, all positive")

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes in the order of the flat tensor: weight, bias and, for normalised layers, scale and shift."""
        shapes: list[tuple[int, ...]] = []
        last = len(self.sizes) - 2
        for k, (n_in, n_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            shapes += [(n_out, n_in), (n_out,)] + ([(n_out,), (n_out,)] if self.layer_norm and k < last else [])
        return tuple(shapes)

    @property
    def _stride(self) -> int:
        """Tensors of a hidden layer."""
        return 4 if self.layer_norm else 2

    def init(self, generator: torch.Generator, *, gain: float | None) -> Tensor:
        """Flat initial parameters ``[num_params]``, float32, on the generator's device.

        With a ``gain``, weights are orthogonal times it and biases 0: SHAC's released code does so for the critic
        with sqrt(2), SAPO's for all networks with 1. With None, torch's own rule for ``Linear``, uniform in
        +-1/sqrt(n_in) for weights and biases, as SHAC's does for the stochastic actor. Scales of the normalisation
        are 1, shifts 0.
        """
        flat = torch.zeros(self.num_params, device=generator.device)
        params = self.split(flat)
        for k, n_in in enumerate(self.sizes[:-1]):
            first = self._stride * k
            weight, bias = params[first : first + 2]
            if gain is not None:
                torch.nn.init.orthogonal_(weight, gain, generator=generator)
            else:
                bound = 1.0 / math.sqrt(n_in)
                weight.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bound, bound, generator=generator)
            if self.layer_norm and k < len(self.sizes) - 2:
                params[first + 2].fill_(1.0)
        return flat

    def __call__(self, params: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """``[..., sizes[0]] -> [..., sizes[-1]]`` with the layers of ``split``; differentiable."""
        activation = _ACTIVATIONS[self.activation]
        for k, width in enumerate(self.sizes[1:-1]):
            first = self._stride * k
            x = activation(F.linear(x, params[first], params[first + 1]))
            if self.layer_norm:
                x = F.layer_norm(x, (width,), params[first + 2], params[first + 3], _LN_EPS)
        return F.linear(x, params[-2], params[-1])

    def record(self, params: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, Tape]:
        activation = _ACTIVATIONS[self.activation]
        layers: list[tuple[Tensor, ...]] = []
        h = x
        for k, width in enumerate(self.sizes[1:-1]):
            first, norm = self._stride * k, []
            z = torch.addmm(params[first + 1], h, params[first].t())
            e = activation(z)
            before, h = h, e
            if self.layer_norm:
                h, *norm = torch.native_layer_norm(e, (width,), params[first + 2], params[first + 3], _LN_EPS)
            layers.append((before, z, e, *norm))
        return torch.addmm(params[-1], h, params[-2].t()), Tape(layers, h)

    def pull_back(self, params: tuple[Tensor, ...], tape: Tape, g: Tensor, grads: tuple[Tensor, ...]) -> None:
        torch.mm(g.t(), tape.last, out=grads[-2])
        torch.sum(g, 0, out=grads[-1])
        # Of one column the product is an outer one, which broadcasting does in fewer operations.
        g = g * params[-2] if self.sizes[-1] == 1 else torch.mm(g, params[-2])
        for k in range(len(tape.layers) - 1, -1, -1):
            first = self._stride * k
            h, z, e, *norm = tape.layers[k]
            if self.layer_norm:
                g, g_scale, g_shift = torch.ops.aten.native_layer_norm_backward(
                    g, e, (self.sizes[k + 1],), *norm, params[first + 2], params[first + 3], [True, True, True]
                )
                grads[first + 2].copy_(g_scale)
                grads[first + 3].copy_(g_shift)
            g = _activation_backward(self.activation, g, z, e)
            torch.mm(g.t(), h, out=grads[first])
            torch.sum(g, 0, out=grads[first + 1])
            if k:
                g = torch.mm(g, params[first])


def _activation_backward(activation: Activation, g: Tensor, z: Tensor, e: Tensor) -> Tensor:
    """The cotangent of ``z`` from that of ``e = activation(z)``."""
    aten = torch.ops.aten
    if activation == "elu":
        # From the activation's output (is_result): exp(z) = e + 1 where e < 0.
        return aten.elu_backward(g, 1.0, 1.0, 1.0, True, e)
    if activation == "silu":
        return aten.silu_backward(g, z)
    return aten.threshold_backward(g, e, 0.0) if activation == "relu" else aten.tanh_backward(g, e)
