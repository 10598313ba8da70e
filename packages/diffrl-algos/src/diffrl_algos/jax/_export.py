"""Policies as programs of ``jax.export``: StableHLO that needs JAX alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, export

from ._policy import GaussianPolicy

PLATFORMS = ("cpu", "cuda")


def jax_bytes(
    policy: GaussianPolicy, num_obs: int, control_range: Sequence[tuple[float, float]] | None = None
) -> bytes:
    """The file that ``jax.export.deserialize`` reads: ``obs [N, num_obs]``, N free, to actions ``[N, na]`` in float32.

    Networks, statistics of observations and the clipping of actions that environments do are inside.

    Args:
        policy: without random numbers.
        num_obs: length of an observation vector.
        control_range: what actions of -1 and 1 stand for. The program then gives controls, within these bounds.
    """
    plain = GaussianPolicy(policy.actor, *jax.tree.map(_single, (policy.params, policy.normalize)))

    def act(obs: Array) -> Array:
        action = jnp.clip(plain(obs), -1.0, 1.0)
        if control_range is None:
            return action
        low, high = np.asarray(control_range, np.float64).T
        # Rounding must not exceed the bounds.
        return jnp.clip(_single((low + high) / 2) + action * _single((high - low) / 2), _single(low), _single(high))

    obs = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), num_obs), jnp.float32)
    # A GPU would take fewer digits of each factor, and the actions would not be those of the CPU.
    with jax.default_matmul_precision("highest"):
        return bytes(export.export(jax.jit(act), platforms=PLATFORMS)(obs).serialize())


def jax_policy(data: bytes) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """What ``jax_bytes`` wrote, as a function of arrays of NumPy."""
    program = export.deserialize(bytearray(data))
    return lambda obs: np.array(program.call(jnp.asarray(obs)))


def _single(array: Any) -> Array:
    return jnp.asarray(array, jnp.float32)
