"""One gradient for each sample of a batch, by ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Params = Tensor | Mapping[str, Any] | Sequence[Any]
"""A tensor, or dictionaries and sequences of tensors, as ``dict(module.named_parameters())`` is one."""


def per_sample_gradients(
    f: Callable[..., Tensor], params: Params, *data: Tensor, chunk_size: int | None = None
) -> Tensor:
    """Gradient of ``f(params, *sample)`` with respect to the parameters, for each sample of ``data``.

    Args:
        f: takes ``params`` and one sample of each of ``data``, without the leading axis; returns a scalar. It must
            be pure, because of ``torch.func.vmap``: noise is part of the data. For a module use
            ``torch.func.functional_call``.
        params: the parameters.
        data: arrays with one sample for each index of the leading axis, ``[N, ...]``.
        chunk_size: number of samples processed at once; default: all. Fewer need less memory.

    Returns:
        Gradients, shape ``[N, P]``: the flattened parameters, concatenated in the order of
        dictionaries and sequences. ``unflatten_like`` splits them again.

    Raises:
        ValueError: no parameters or no data, leading axes that differ, or ``f`` does not return a scalar.
    """
    leaves = _flatten("params", params)
    if not leaves or not data:
        raise ValueError(f"{'data' if leaves else 'params'} is empty; expected at least one tensor")
    count = _count(data)

    def scalar(flat: list[Tensor], *sample: Tensor) -> Tensor:
        value = f(_rebuild(params, iter(flat)), *sample)
        if value.ndim:
            raise ValueError(f"f returned shape {tuple(value.shape)} for one sample; expected a scalar")
        return value

    axes = (None, *(0 for _ in data))
    grads = torch.func.vmap(torch.func.grad(scalar), in_dims=axes, chunk_size=chunk_size)(leaves, *data)
    return torch.cat([grad.reshape(count, -1) for grad in grads], dim=1)


def unflatten_like(flat: Tensor, params: Params) -> Any:
    """``params`` with the numbers of ``flat``, in the order of ``per_sample_gradients``.

    Args:
        flat: shape ``[..., P]``; leading axes precede those of each parameter.
        params: an example of the result.

    Returns:
        The structure of ``params``.

    Raises:
        ValueError: the last axis of ``flat`` is not the number of parameters.
    """
    leaves = _flatten("params", params)
    sizes = [leaf.numel() for leaf in leaves]
    if not flat.ndim or flat.shape[-1] != sum(sizes):
        raise ValueError(f"flat has shape {tuple(flat.shape)}; expected [..., {sum(sizes)}], the size of params")
    parts = [
        part.reshape((*flat.shape[:-1], *leaf.shape))
        for part, leaf in zip(flat.split(sizes, dim=-1), leaves, strict=True)
    ]
    return _rebuild(params, iter(parts))


def _count(data: Sequence[Tensor]) -> int:
    count = data[0].shape[0] if data[0].ndim else 0
    for i, one in enumerate(data):
        if not one.ndim or one.shape[0] != count or count == 0:
            raise ValueError(f"data {i} has shape {tuple(one.shape)}; expected [N, ...] with N = {count} >= 1")
    return count


def _flatten(name: str, params: Any) -> list[Tensor]:
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, Mapping):
        return [leaf for key, part in params.items() for leaf in _flatten(f"{name}[{key!r}]", part)]
    if isinstance(params, Sequence) and not isinstance(params, str):
        return [leaf for i, part in enumerate(params) for leaf in _flatten(f"{name}[{i}]", part)]
    raise ValueError(f"{name} is of type {type(params).__name__}; expected a tensor, or a dict or list of tensors")


def _rebuild(params: Any, leaves: Any) -> Any:
    if isinstance(params, Tensor):
        return next(leaves)
    if isinstance(params, Mapping):
        return {key: _rebuild(part, leaves) for key, part in params.items()}
    parts = [_rebuild(part, leaves) for part in params]
    if isinstance(params, tuple):
        return type(params)(*parts) if hasattr(params, "_fields") else tuple(parts)
    return parts
