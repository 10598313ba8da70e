"""Encoders of point clouds, and networks that begin with one. Parameters are one flat tensor, as of ``MLP``.

The PointNet of Ze et al., 3D Diffusion Policy, 2024 (DP3), as Xing et al. 2024 use it (B.2).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ._mlp import MLP, FlatParameters, Network
from ._observations import Layout

Pool = Literal["avg", "max"]
_LN_EPS = 1e-5


@dataclass(frozen=True)
class Encoder(FlatParameters):
    """``[..., size] -> [..., width]``: a layer for the vectors, and a PointNet for each cloud of points.

    Every layer is ``Linear -> LayerNorm -> SiLU``. A PointNet takes each point by itself through ``points``, pools over
    the points, which makes it blind to their order, and ends in a layer of width ``latent``.
    """

    layout: Layout
    vector: int = 128
    """Width of the layer for the vectors, which is left out where there are none."""
    points: tuple[int, ...] = (64, 128, 256)
    """Widths of the layers that each point goes through."""
    latent: int = 64
    """Numbers that stand for a cloud."""
    pool: Pool = "avg"

    @cached_property
    def chains(self) -> tuple[tuple[int, ...], ...]:
        """Widths from input to output of each row of layers: the vectors', then each cloud's."""
        first = ((self.layout.vector, self.vector),) if self.layout.vector else ()
        return first + tuple((of_point, *self.points, self.latent) for _, _, of_point in self.layout.clouds)

    @property
    def width(self) -> int:
        """Length of the result."""
        return sum(chain[-1] for chain in self.chains)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes in the order of the flat tensor: weight, bias, scale and shift of each layer."""
        pairs = [pair for chain in self.chains for pair in itertools.pairwise(chain)]
        return tuple(shape for n_in, n_out in pairs for shape in ((n_out, n_in), (n_out,), (n_out,), (n_out,)))

    def init(self, generator: torch.Generator) -> Tensor:
        """Flat initial parameters: weights orthogonal, biases and shifts 0, scales 1, as in the authors' code."""
        flat = torch.zeros(self.num_params, device=generator.device)
        params = self.split(flat)
        for weight, scale in zip(params[0::4], params[2::4], strict=True):
            torch.nn.init.orthogonal_(weight, 1.0, generator=generator)
            scale.fill_(1.0)
        return flat

    def __call__(self, params: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """Differentiable in the parameters and in ``x``."""
        vector, clouds = self.layout.split(x)
        layers = iter([params[k : k + 4] for k in range(0, len(params), 4)])
        parts = [_layer(next(layers), vector)] if self.layout.vector else []
        for cloud in clouds:
            h = cloud
            for _ in self.points:
                h = _layer(next(layers), h)
            pooled = h.mean(-2) if self.pool == "avg" else h.amax(-2)
            parts.append(_layer(next(layers), pooled))
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class EncodedMLP(Network):
    """An encoder and a network on top of it, with the interface of ``MLP``."""

    encoder: Encoder
    mlp: MLP
    """Its input is the encoder's result."""

    @property
    def sizes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.encoder.layout.size, *self.mlp.sizes)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (*self.encoder.shapes, *self.mlp.shapes)

    def init(self, generator: torch.Generator, *, gain: float | None) -> Tensor:
        """Flat initial parameters; ``gain`` is the network's."""
        return torch.cat([self.encoder.init(generator), self.mlp.init(generator, gain=gain)])

    def __call__(self, params: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """``[..., size] -> [..., outputs]``; differentiable."""
        count = len(self.encoder.shapes)
        return self.mlp(params[count:], self.encoder(params[:count], x))

    def record(self, params: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
        """Outputs ``[B, outputs]`` without a graph, and the graph with the parameters that it begins at."""
        leaves = [part.detach().requires_grad_() for part in params]
        with torch.enable_grad():
            out = self(tuple(leaves), x)
        return out.detach(), (out, leaves)

    def pull_back(
        self, params: tuple[Tensor, ...], tape: tuple[Tensor, list[Tensor]], g: Tensor, grads: tuple[Tensor, ...]
    ) -> None:
        """Write the gradient by the parameters of ``sum(g * out)`` into ``grads``."""
        out, leaves = tape
        for place, part in zip(grads, torch.autograd.grad(out, leaves, g), strict=True):
            place.copy_(part)


def _layer(params: tuple[Tensor, ...], x: Tensor) -> Tensor:
    weight, bias, scale, shift = params
    return F.silu(F.layer_norm(F.linear(x, weight, bias), (len(bias),), scale, shift, _LN_EPS))
