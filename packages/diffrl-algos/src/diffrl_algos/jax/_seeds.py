"""Several seeds as one more axis of the same function, compiled once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def over_seeds(step: Callable[..., Any], count: int) -> Callable[..., list[Any]]:
    """``step`` for ``count`` seeds: a tuple of arguments for each, and a result for each.

    A single one is no axis, so that it has the bits of ``step``. Stacking is inside of what is compiled: outside, each
    array of each seed would be an operation of its own.
    """
    if count == 1:
        return lambda arguments: [step(*arguments)]

    def together(*each: tuple[Any, ...]) -> list[Any]:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        found = jax.vmap(step)(*stacked)
        return [jax.tree.map(lambda leaf, k=k: leaf[k], found) for k in range(count)]

    return together
