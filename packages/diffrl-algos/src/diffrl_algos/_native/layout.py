"""Where compiled code finds what belongs to a network: parameters, transposed weights and scratch. See ``_source/``."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, get_args

from diffsim_core.native import Arguments, Kernels, cpu_lanes, native_kernels, shared_headers

from .._config import Activation

BLOCK = 66
"""Rows that go through a network together: a multiple of the rows of a tile, and few enough for the cache."""
SHAPE = (
    *("depth", "activation", "layer_norm", "inputs", "stride", "size", "flat_size", "turned_size"),
    *("pull", "sums", "kept", "kept_size"),
)
"""Whole numbers that describe a network to C++."""
_ACTIVATIONS = get_args(Activation)
"""In the order of the enumeration in ``activation.h``."""
_SOURCE = Path(__file__).with_name("_source")


class Sizes(Protocol):
    """What a layout needs to know of a multilayer perceptron."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from input to output."""
        ...

    @property
    def activation(self) -> Activation: ...

    @property
    def layer_norm(self) -> bool:
        """Whether each hidden layer is normalised after its activation."""
        ...

    @property
    def num_params(self) -> int:
        """Length of the flat parameters."""
        ...


class _Layer(NamedTuple):
    """``struct Layer`` of ``mlp.h``."""

    inputs: int
    outputs: int
    width: int
    panel: int
    weight: int
    bias: int
    scale: int
    shift: int
    turned: int
    stride: int
    extra: int
    active: int
    normal: int
    mean: int
    inverse: int


@dataclass
class _Places:
    """Places one after the other, each on a multiple of ``unit``."""

    unit: int
    size: int = field(default=0, init=False)

    def take(self, numbers: int) -> int:
        place = self.size
        self.size += self.rounded(numbers)
        return place

    def rounded(self, numbers: int) -> int:
        return -(-numbers // self.unit) * self.unit


@dataclass(frozen=True)
class Layout:
    """Offsets in numbers, which begin on cache lines."""

    layers: tuple[_Layer, ...]
    """The output layer is the last."""
    shape: dict[str, int]
    """Values of ``SHAPE``."""
    scratch: int
    """Numbers of scratch that a block of rows needs."""

    @classmethod
    def of(cls, mlp: Sizes, dtype: str, *, scalar: bool = False) -> Layout:
        """The layout of a network. Weights lie in panels; if the output is a ``scalar``, its weight is a vector."""
        panel = 2 * cpu_lanes(dtype)
        params, turned, scratch, kept = (_Places(panel) for _ in range(4))

        def stride(width: int) -> int:
            # An odd number of lines, or the rows of a tile would share a few sets of the cache.
            return (params.rounded(width) // panel | 1) * panel

        scratch.take(BLOCK * stride(mlp.sizes[0]))
        layers = []
        for inputs, outputs in itertools.pairwise(mlp.sizes):
            last = len(layers) == len(mlp.sizes) - 2
            vector = scalar and last
            width, room = params.rounded(outputs), 0 if last else BLOCK * stride(outputs)
            layer = _Layer(
                inputs=inputs,
                outputs=outputs,
                width=width,
                panel=1 if vector else panel,
                weight=params.take(inputs if vector else inputs * width),
                bias=params.take(width),
                scale=params.take(width),
                shift=params.take(width),
                turned=turned.take(outputs * params.rounded(inputs)),
                stride=stride(outputs),
                extra=kept.take(room if mlp.activation == "silu" else 0),
                active=kept.take(room),
                normal=scratch.take(room),
                mean=kept.take(BLOCK),
                inverse=kept.take(BLOCK),
            )
            layers.append(layer)
        widest = BLOCK * max(stride(width) for width in mlp.sizes)
        pull, sums = scratch.take(widest), scratch.take(widest)
        values = (
            *(len(layers) - 1, _ACTIVATIONS.index(mlp.activation), int(mlp.layer_norm), mlp.sizes[0]),
            *(stride(mlp.sizes[0]), params.size, mlp.num_params, turned.size),
            *(pull, sums, scratch.take(kept.size), kept.size),
        )
        return cls(tuple(layers), dict(zip(SHAPE, values, strict=True)), scratch.size)


def network_kernels(name: str, header: str, functions: dict[str, Arguments], dtype: str) -> Kernels:
    """Functions of a header in ``_source``, for a number type."""
    return native_kernels(
        f"diffrl_{name}_{dtype}",
        header,
        functions,
        folders=[shared_headers(_SOURCE)],
        dtype=dtype,
        on_cuda=False,
        defines={"BLOCK": BLOCK},
    )
