"""Fits of critics compiled from C++, see ``_source/``: forward and backward passes, clipping and Adam(W) in one call.

At the sizes of this field most of a fit by torch's operations is their fixed cost. The mathematics is that of
``fit_critic``; sums are taken in another order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .._native.fit import CALL, fit_of
from ._adam import Adam, Optimizer
from ._dtypes import DTYPES
from ._mlp import MLP


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
    require_arrays(dtype, dict(zip(CALL, zip((flat, adam.m, adam.v, x, y), shapes, strict=True), strict=False)))
    steps = passes * -(-rows // minibatch)
    numbers, loss = adam_constants(optimizer, adam, steps, lr), torch.empty((), dtype=dtype)
    arrays = (flat, adam.m, adam.v, x, y, order, numbers, loss)
    program, _ = fit_of(mlp, count, DTYPES[dtype])
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
