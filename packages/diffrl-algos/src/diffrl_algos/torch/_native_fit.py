"""Fits of critics compiled from C++, see ``_source/``: forward and backward passes, clipping and Adam(W) in one call.

At the sizes of this field most of a fit by torch's operations is their fixed cost. The mathematics is that of
``fit_critic``; sums are taken in another order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core.native import Arguments, Launch, Launcher, Program

from ._adam import Adam, Optimizer
from ._layout import DTYPES, SHAPE, Layout, network_kernels
from ._mlp import MLP

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
_ARGUMENTS = Arguments("FitArgs", **_CALL, layers="const int*", **dict.fromkeys((*SHAPE, "critics"), "int"), work="T*")


class CompiledFit(NamedTuple):
    """What runs, for networks of one shape."""

    program: Program
    layers: np.ndarray
    """Whose address the program has."""

    @classmethod
    def of(
        cls,
        name: str,
        arguments: Arguments,
        call: Mapping[str, str],
        layout: Layout,
        dtype: str,
        *,
        work: int,
        **constants: int,
    ) -> CompiledFit:
        """The function ``name`` of ``_source/NAME.h``.

        Args:
            name: of the function.
            arguments: all that it takes.
            call: those of them that come with each call.
            layout: of its networks.
            dtype: the number type.
            work: numbers in one of the four copies that it needs of all parameters: these, moments and gradients.
            constants: arguments that are the same in every call, in addition to the layout's.
        """
        layers = np.array(layout.layers, dtype=np.int32)
        # What is not in these copies serves the networks one after the other.
        room = 4 * work + layout.shape["turned_size"] + layout.scratch
        launcher = Launcher(
            network_kernels(name, f"{name}.h", {name: arguments}, dtype),
            device="cpu",
            constants={"layers": layers.ctypes.data, **layout.shape, **constants},
            scratch={"work": lambda _: room},
            threads=1,
        )
        return cls(launcher.program(Launch(name, items=lambda _: 1), given=tuple(call)), layers)


@functools.lru_cache(maxsize=8)
def _fit_of(mlp: MLP, count: int, dtype: str) -> CompiledFit:
    layout = Layout.of(mlp, dtype, scalar=True)
    work = count * layout.shape["size"]
    return CompiledFit.of("fit", _ARGUMENTS, _CALL, layout, dtype, critics=count, work=work)


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
    require_arrays(dtype, dict(zip(_CALL, zip((flat, adam.m, adam.v, x, y), shapes, strict=True), strict=False)))
    steps = passes * -(-rows // minibatch)
    numbers, loss = adam_constants(optimizer, adam, steps, lr), torch.empty((), dtype=dtype)
    arrays = (flat, adam.m, adam.v, x, y, order, numbers, loss)
    program, _ = _fit_of(mlp, count, DTYPES[dtype])
    program.run(1, 1, [*(array.data_ptr() for array in arrays), passes, rows, minibatch])
    return adam._replace(step=adam.step + steps), loss


def require_arrays(dtype: torch.dtype, arrays: Mapping[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    """Raise ``ValueError`` unless each array is contiguous and has the number type and its shape."""
    for name, (array, shape) in arrays.items():
        if array.shape != shape or array.dtype != dtype or not array.is_contiguous():
            raise ValueError(f"{name} is {array.dtype}{list(array.shape)}; expected {dtype}{list(shape)}, contiguous")


def adam_constants(optimizer: Optimizer, adam: Adam, steps: int, lr: float) -> Tensor:
    """What ``adam.h`` needs of the optimiser, and of each of the next ``steps``.

    The same numbers as in ``Optimizer.step_`` and ``Adam.step_``, which torch rounds in the same way.
    """
    b1, b2 = optimizer.betas
    constants = [b1, 1.0 - b1, b2, 1.0 - b2, optimizer.eps, optimizer.max_norm, 1.0 - lr * optimizer.weight_decay]
    for step in range(adam.step + 1, adam.step + steps + 1):
        constants += math.sqrt(1.0 - b2**step), lr / (1.0 - b1**step)
    return torch.tensor(constants, dtype=adam.m.dtype)
