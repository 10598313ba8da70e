"""Fits of critics compiled from C++, see ``_source/``: forward and backward passes, clipping and Adam(W) in one call.

At the sizes of this field most of a fit by torch's operations is their fixed cost. The mathematics is that of
``fit_critic``; sums are taken in another order.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from diffsim_core.native import (
    Arguments,
    Kernels,
    Launch,
    Launcher,
    Program,
    cpu_lanes,
    native_kernels,
    shared_headers,
)

from .._config import Activation
from ._adam import Adam, Optimizer
from ._mlp import MLP

_SOURCE = Path(__file__).with_name("_source")
_BLOCK = 66
"""Rows that go through the network together: a multiple of the rows of a tile, and few enough for the cache."""
_LINE = 64
"""Bytes of a cache line, which is the row of a panel."""
_ACTIVATIONS = get_args(Activation)
"""In the order of the enumeration in ``activation.h``."""
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_CALL = {
    "parameters": "T*",
    "m": "T*",
    "v": "T*",
    "x": "const T*",
    "y": "const T*",
    "order": "const int*",
    "constants": "const T*",
    "loss": "T*",
    "epochs": "int",
    "rows": "int",
    "batch": "int",
}
"""What comes with each call."""
_SHAPE = (
    *("depth", "activation", "layer_norm", "critics", "inputs", "stride", "last", "last_bias", "last_inputs"),
    *("size", "flat_size", "turned_size", "cotangents", "widest"),
)
"""Whole numbers that describe the networks."""
_ARGUMENTS = Arguments("FitArgs", **_CALL, layers="const int*", **dict.fromkeys(_SHAPE, "int"), work="T*")


class _Layer(NamedTuple):
    """``struct Layer`` of ``mlp.h``."""

    inputs: int
    outputs: int
    width: int
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


@dataclass(frozen=True)
class _Layout:
    """Where the C++ finds what belongs to a network: offsets in numbers, which begin on cache lines."""

    layers: tuple[_Layer, ...]
    shape: dict[str, int]
    work: int
    """Numbers of scratch that a fit needs."""

    @classmethod
    def of(cls, mlp: MLP, count: int, dtype: str) -> _Layout:
        panel = 2 * cpu_lanes(dtype)
        params, turned, scratch = _Counter(panel), _Counter(panel), _Counter(panel)

        def stride(width: int) -> int:
            # An odd number of lines, or the rows of a tile would share a few sets of the cache.
            return (-(-width // panel) | 1) * panel

        scratch.take(_BLOCK * stride(mlp.sizes[0]))
        layers = []
        for inputs, outputs in itertools.pairwise(mlp.sizes[:-1]):
            width = -(-outputs // panel) * panel
            room = _BLOCK * stride(outputs)
            layer = _Layer(
                inputs=inputs,
                outputs=outputs,
                width=width,
                weight=params.take(inputs * width),
                bias=params.take(width),
                scale=params.take(width),
                shift=params.take(width),
                turned=turned.take(outputs * (-(-inputs // panel) * panel)) if layers else 0,
                stride=stride(outputs),
                extra=scratch.take(room),
                active=scratch.take(room),
                normal=scratch.take(room),
                mean=scratch.take(_BLOCK),
                inverse=scratch.take(_BLOCK),
            )
            layers.append(layer)
        last_inputs = mlp.sizes[-2]
        last, last_bias = params.take(last_inputs), params.take(1)
        widest = max((layer.stride for layer in layers), default=0)
        cotangents = scratch.take(2 * _BLOCK * widest)
        values = (
            *(len(layers), _ACTIVATIONS.index(mlp.activation), int(mlp.layer_norm), count, mlp.sizes[0]),
            *(stride(mlp.sizes[0]), last, last_bias, last_inputs),
            *(params.size, mlp.num_params, turned.size, cotangents, widest),
        )
        work = 4 * count * params.size + turned.size + scratch.size
        return cls(tuple(layers), dict(zip(_SHAPE, values, strict=True)), work)


class _Counter:
    """Places one after the other, each on a multiple of ``unit``."""

    def __init__(self, unit: int) -> None:
        self.size, self._unit = 0, unit

    def take(self, numbers: int) -> int:
        place = self.size
        self.size += -(-numbers // self._unit) * self._unit
        return place


@functools.cache
def _kernels(dtype: str) -> Kernels:
    return native_kernels(
        f"diffrl_fit_{dtype}",
        "fit.h",
        {"fit": _ARGUMENTS},
        folders=[shared_headers(_SOURCE)],
        dtype=dtype,
        on_cuda=False,
        defines={"BLOCK": _BLOCK},
    )


class _Fit(NamedTuple):
    """What runs, for networks of one shape."""

    program: Program
    layers: np.ndarray
    """Whose address the program has."""


@functools.lru_cache(maxsize=8)
def _fit_of(mlp: MLP, count: int, dtype: str) -> _Fit:
    layout = _Layout.of(mlp, count, dtype)
    layers = np.array(layout.layers, dtype=np.int32)
    constants = {"layers": layers.ctypes.data, **layout.shape}
    scratch = {"work": lambda _: layout.work}
    launcher = Launcher(_kernels(dtype), device="cpu", constants=constants, scratch=scratch, threads=1)
    return _Fit(launcher.program(Launch("fit", items=lambda _: 1), given=tuple(_CALL)), layers)


def fit_natively_(
    mlp: MLP,
    count: int,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    y: Tensor,
    order: Tensor,
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
) -> tuple[Adam, Tensor]:
    """Fit networks to the same targets, in place on ``flat`` and the moments; Python's lock is free meanwhile.

    Args:
        mlp: the shape of each network.
        count: their number.
        flat: their parameters, contiguous, float32 or float64.
        adam: their moments, contiguous.
        x: inputs ``[B, sizes[0]]``.
        y: targets ``[B]``.
        order: the rows of each pass, int32 ``[passes, B]``, each from 0 to B - 1.
        minibatch: rows of a step; the last one of a pass may have fewer.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        The moments, and the mean squared error of the last pass as it went, a scalar.
    """
    dtype, (passes, rows) = flat.dtype, order.shape
    x, y, order = (part.detach().contiguous() for part in (x, y, order))
    shapes = (*[(count * mlp.num_params,)] * 3, (rows, mlp.sizes[0]), (rows,))
    for name, array, shape in zip(_CALL, (flat, adam.m, adam.v, x, y), shapes, strict=False):
        if array.shape != shape or array.dtype != dtype or not array.is_contiguous():
            raise ValueError(f"{name} is {array.dtype}{list(array.shape)}; expected {dtype}{list(shape)}, contiguous")
    # The same numbers as in Optimizer.step_ and Adam.step_, which torch rounds in the same way.
    b1, b2 = optimizer.betas
    steps = [adam.step + k + 1 for k in range(passes * -(-rows // minibatch))]
    constants = [b1, 1.0 - b1, b2, 1.0 - b2, optimizer.eps, optimizer.max_norm, 1.0 - lr * optimizer.weight_decay]
    for step in steps:
        constants += math.sqrt(1.0 - b2**step), lr / (1.0 - b1**step)
    numbers, loss = torch.tensor(constants, dtype=dtype), torch.empty((), dtype=dtype)
    arrays = (flat, adam.m, adam.v, x, y, order, numbers, loss)
    program, _ = _fit_of(mlp, count, _DTYPES[dtype])
    program.run(1, 1, [*(array.data_ptr() for array in arrays), passes, rows, minibatch])
    return adam._replace(step=adam.step + len(steps)), loss
