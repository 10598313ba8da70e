"""``Packing``: between the state of one world, a tree of arrays, and two rows of numbers."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp


class Packing:
    """Between the state of one world, a tree of arrays, and two rows of numbers.

    Args:
        example: a state, or what ``jax.eval_shape`` makes of one.
        dtype: of the real numbers.
    """

    def __init__(self, example: Any, dtype: str) -> None:
        self.dtype = jnp.dtype(dtype)
        leaves, self._structure = jax.tree.flatten(example)
        self._kinds = [(tuple(leaf.shape), leaf.dtype) for leaf in leaves]
        wide = any(not _is_real(dtype) and dtype.itemsize == 8 for _, dtype in self._kinds)
        self._whole = jnp.dtype(jnp.int64 if wide else jnp.int32)

    def pack(self, state: Any) -> tuple[jax.Array, jax.Array]:
        """The two rows ``[n]`` and ``[m]`` of one state."""
        numbers, integers = [jnp.zeros(0, self.dtype)], [jnp.zeros(0, self._whole)]
        for leaf, (_, dtype) in zip(self._structure.flatten_up_to(state), self._kinds, strict=True):
            if _is_real(dtype):
                numbers.append(jnp.asarray(leaf, self.dtype).reshape(-1))
            else:
                integers.append(_converted(jnp.asarray(leaf, dtype), self._whole).reshape(-1))
        return jnp.concatenate(numbers), jnp.concatenate(integers)

    def unpack(self, numbers: jax.Array, integers: jax.Array) -> Any:
        """The state of two rows."""
        leaves, at = [], {True: 0, False: 0}
        for shape, dtype in self._kinds:
            real, size = _is_real(dtype), math.prod(shape)
            part = (numbers if real else integers)[at[real] : at[real] + size]
            leaves.append(_converted(part, dtype).reshape(shape))
            at[real] += size
        return self._structure.unflatten(leaves)


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def _converted(array: jax.Array, dtype: Any) -> jax.Array:
    """``array`` as ``dtype``; unsigned integers, such as random keys, keep their bits in signed ones."""
    unsigned = jnp.dtype(jnp.uint32)
    if unsigned in (array.dtype, dtype) and array.dtype.itemsize == dtype.itemsize:
        return jax.lax.bitcast_convert_type(array, dtype)
    return array.astype(dtype)
