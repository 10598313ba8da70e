"""One gradient for each sample of a batch, by ``jax.vmap``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def per_sample_gradients(f: Callable[..., Array], params: Any, *data: Any, chunk_size: int | None = None) -> Array:
    """Gradient of ``f(params, *sample)`` with respect to the parameters, for each sample of ``data``.

    Args:
        f: takes ``params`` and one sample of each of ``data``, without the leading axis; returns a scalar.
        params: the parameters, any pytree of arrays.
        data: pytrees of arrays with one sample for each index of the leading axis, ``[N, ...]``.
        chunk_size: number of samples processed at once; default: all. Fewer need less memory.

    Returns:
        Gradients, shape ``[N, P]``: the flattened parameters, concatenated in the order of
        ``jax.tree.leaves`` (dictionaries by sorted key). ``unflatten_like`` splits them again.

    Raises:
        ValueError: no parameters or no data, leading axes that differ, or ``f`` does not return a scalar.
    """
    leaves, samples = jax.tree.leaves(params), jax.tree.leaves(data)
    if not leaves or not samples:
        raise ValueError(f"{'data' if leaves else 'params'} is empty; expected at least one array")
    count = _count(samples)

    def scalar(params: Any, *sample: Any) -> Array:
        value = f(params, *sample)
        if jnp.ndim(value):
            raise ValueError(f"f returned shape {jnp.shape(value)} for one sample; expected a scalar")
        return value

    def one(sample: Any) -> Any:
        return jax.grad(scalar)(params, *sample)

    grads = jax.vmap(one)(data) if chunk_size is None else jax.lax.map(one, data, batch_size=chunk_size)
    return jnp.concatenate([grad.reshape(count, -1) for grad in jax.tree.leaves(grads)], axis=1)


def unflatten_like(flat: Array, params: Any) -> Any:
    """``params`` with the numbers of ``flat``, in the order of ``per_sample_gradients``.

    Args:
        flat: shape ``[..., P]``; leading axes precede those of each parameter.
        params: an example of the result, any pytree of arrays.

    Returns:
        The structure of ``params``.

    Raises:
        ValueError: the last axis of ``flat`` is not the number of parameters.
    """
    leaves, structure = jax.tree.flatten(params)
    sizes = [jnp.size(leaf) for leaf in leaves]
    if not jnp.ndim(flat) or flat.shape[-1] != sum(sizes):
        raise ValueError(f"flat has shape {jnp.shape(flat)}; expected [..., {sum(sizes)}], the size of params")
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    parts = [
        flat[..., end - size : end].reshape(*flat.shape[:-1], *jnp.shape(leaf))
        for leaf, size, end in zip(leaves, sizes, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, parts)


def _count(samples: list[Any]) -> int:
    count = samples[0].shape[0] if jnp.ndim(samples[0]) else 0
    for i, one in enumerate(samples):
        if not jnp.ndim(one) or one.shape[0] != count or count == 0:
            raise ValueError(f"data {i} has shape {jnp.shape(one)}; expected [N, ...] with N = {count} >= 1")
    return count
