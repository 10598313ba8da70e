"""Epochs of a Gaussian policy down a loss, compiled from C++, see ``_source/policy_fit.h``.

Forward and backward passes, clipping and Adam(W) of all steps are one call. Torch takes sums in another order.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from diffsim_core.native import Arguments

from .._native.fit import CompiledFit
from .._native.layout import SHAPE, Layout
from ._adam import Adam, Optimizer
from ._dtypes import DTYPES
from ._mlp import MLP
from ._native_fit import adam_constants, require_arrays
from ._policy import GaussianActor
from ._policy_losses import ReusedGradients, SquaredError, Steps, Surrogate

_CALL = {
    **dict.fromkeys(("parameters", "m", "v"), "T*"),
    "x": "const T*",
    "order": "const int*",
    **dict.fromkeys(("eps", "target", "u", "advantage", "reference"), "const T*"),
    **dict.fromkeys(("gradient", "mean_old", "logstd_old", "limits", "constants"), "const T*"),
    "figures": "T*",
    **dict.fromkeys(("epochs", "rows", "batch"), "int"),
}
"""What comes with each call. The arrays of the other losses are null pointers."""
_SHAPES = {"layers": "const int*", **dict.fromkeys((*SHAPE, "actions", "spread"), "int")}
_ARGUMENTS = Arguments("PolicyFitArgs", **_CALL, **_SHAPES, work="T*")


@functools.lru_cache(maxsize=8)
def _fit_of(mlp: MLP, spread: bool, dtype: str) -> CompiledFit:
    layout, actions = Layout.of(mlp, dtype), mlp.sizes[-1] // (2 if spread else 1)
    # Log sigma is as wide as the outputs of the network.
    work = layout.shape["size"] + layout.layers[-1].width
    constants = {"actions": actions, "spread": spread}
    return CompiledFit.of("policy_fit", _ARGUMENTS, _CALL, layout, dtype, work=work, **constants)


def fit_policy_natively_(
    actor: GaussianActor,
    flat: Tensor,
    adam: Adam,
    x: Tensor,
    order: Tensor,
    loss: SquaredError | Surrogate | ReusedGradients,
    *,
    minibatch: int,
    optimizer: Optimizer,
    lr: float,
) -> tuple[Adam, Steps]:
    """Take steps down a loss by compiled code, in place on ``flat`` and the moments.

    Args:
        actor: a policy without an encoder.
        flat: its parameters, contiguous, float32 or float64, on a CPU.
        adam: their moments, contiguous.
        x: normalised observations ``[B, no]``.
        order: the rows of each pass, whole numbers ``[passes, B]``, each from 0 to B - 1.
        loss: what to descend, with data of ``B`` rows.
        minibatch: rows of a step; the last one of a pass may have fewer.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        The moments, and figures of the steps.

    Raises:
        ValueError: an array has another shape or number type than ``flat`` and ``x`` ask for; the message names it.
    """
    assert isinstance(actor.mlp, MLP)
    dtype, (passes, rows), actions = flat.dtype, order.shape, actor.num_actions
    count = actor.mlp.num_params + (0 if actor.state_dependent else actions)
    arrays: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        name: (part, (count,)) for name, part in (("parameters", flat), ("m", adam.m), ("v", adam.v))
    }
    arrays["x"] = x.detach().contiguous(), (rows, actor.mlp.sizes[0])
    shapes = {"advantage": (rows,), "reference": (passes * rows,)}
    for name, part in loss._asdict().items():
        if isinstance(part, Tensor):
            arrays[name] = part.detach().contiguous(), shapes.get(name, (rows, actions))
    require_arrays(dtype, arrays)
    minibatches = -(-rows // minibatch)
    given = {
        **{name: part for name, (part, _) in arrays.items()},
        "order": order.int().contiguous(),
        "limits": _limits(actor, loss, dtype),
        "constants": adam_constants(optimizer, adam, passes * minibatches, lr),
        "figures": torch.empty(passes, minibatches, len(Steps._fields), dtype=dtype),
    }
    addresses = [given[name].data_ptr() if name in given else 0 for name in _CALL if _CALL[name] != "int"]
    program, _ = _fit_of(actor.mlp, actor.state_dependent, DTYPES[dtype])
    program.run(1, 1, [*addresses, passes, rows, minibatch])
    return adam._replace(step=adam.step + passes * minibatches), Steps(*given["figures"].unbind(-1))


def _limits(actor: GaussianActor, loss: SquaredError | Surrogate | ReusedGradients, dtype: torch.dtype) -> Tensor:
    """``struct Limits`` of ``policy_fit.h``; bounds of ratios and their logarithms as in ``gradest``."""
    clip = loss.clip if isinstance(loss, Surrogate) else 0.0
    logarithms = math.log1p(-clip) if clip < 1.0 else -math.inf, math.log1p(clip)
    ratios = loss.ratio if isinstance(loss, ReusedGradients) else (1.0 - clip, 1.0 + clip)
    largest = 0.9 * math.log(torch.finfo(dtype).max)
    spread = actor.logstd_range or (-math.inf, math.inf)
    entropy = 0.0 if isinstance(loss, SquaredError) else loss.entropy_coef
    divergence = loss.kl_coef if isinstance(loss, ReusedGradients) else 0.0
    return torch.tensor([*spread, *ratios, *logarithms, largest, entropy, divergence], dtype=dtype)
