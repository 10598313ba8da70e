"""JAX: the bridge, a ``custom_vjp`` around a simulator's ``step`` and ``vjp`` (by XLA's FFI), and the ``Backend``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from diffsim_core._backend import Backend, Fill
from diffsim_core._jax_calls import Calls, CpuCalls, CudaCalls, ffi_callable
from diffsim_core._protocol import Dynamics, PyTree, check_count, constant_spec
from diffsim_core._rollout_scan import scan_rollout


class JaxBridge:
    """``(state, control, constants) -> (next_state, ok)`` on JAX arrays; see ``differentiable``."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        kinds = {"state": dynamics.state_spec, "control": dynamics.control_spec, "constants": constant_spec(dynamics)}
        self.specs = tuple(spec for specs in kinds.values() for spec in specs)
        self.names = tuple(f"{kind}.{spec.name}" for kind, specs in kinds.items() for spec in specs)
        calls = CudaCalls if dynamics.device.startswith("cuda") else CpuCalls
        self._differentiable = _custom_vjp(calls(dynamics, self.specs))

    def __call__(
        self, state: PyTree, control: Sequence[jax.Array], constants: Sequence[jax.Array]
    ) -> tuple[PyTree, jax.Array]:
        check_count(self.dynamics, state, control, constants)
        arrays = (*state, *control, *constants)
        num_worlds = arrays[0].shape[0]
        for name, array, spec in zip(self.names, arrays, self.specs, strict=True):
            shape = (num_worlds, *spec.shape)
            if array.shape != shape or array.dtype != self.dynamics.dtype:
                hint = "; float64 needs jax_enable_x64" if self.dynamics.dtype == "float64" else ""
                raise ValueError(
                    f"{name} has shape {array.shape}, dtype {array.dtype}; "
                    f"expected shape {shape}, dtype {self.dynamics.dtype}{hint}"
                )
        *out, ok = self._differentiable(*arrays)
        return self.dynamics.state_type(*out), ok != 0


def _custom_vjp(calls: Calls) -> Callable[..., Any]:
    @jax.custom_vjp
    def step(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return calls.step(*arrays)

    def forward(*arrays: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        *out, ok, kept = calls.step_saving(*arrays)
        return (*out, ok), (*arrays, ok, kept)

    def backward(residuals: tuple[jax.Array, ...], cotangents: tuple[Any, ...]) -> tuple[jax.Array, ...]:
        return calls.vjp(residuals, cotangents[:-1])

    step.defvjp(forward, backward)
    return step


def jax_device(name: str) -> Any:
    """JAX's device of that name.

    Raises:
        ValueError: if JAX has no such device.
    """
    kind, _, index = name.partition(":")
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        found = ", ".join(map(str, jax.devices()))
        raise ValueError(f"device={name!r}: JAX has no such device here, only {found}") from error


@lru_cache(maxsize=1024)
def _draw_call(fill: Fill) -> Callable[..., Any]:
    def call(key: Any, episode: Any, out: Any) -> None:
        worlds, per_world = out.shape
        fill(worlds, per_world, key.ptr, episode.ptr, out.ptr)

    arguments = {"key": ("int32", 1), "episode": ("int32", 1), "out": (fill.dtype, 2)}
    return ffi_callable("random", call, arguments, 1)


class JaxBackend:
    """See ``Backend``. Arrays may be traced, so that no number of theirs can be read."""

    name = "jax"
    xp: Any = jnp
    device = staticmethod(jax_device)
    rollout = staticmethod(scan_rollout)

    def has_int64(self) -> bool:
        return bool(jax.config.read("jax_enable_x64"))

    def can_read(self, device: str) -> bool:
        return False

    def is_traced(self, x: Any) -> bool:
        return isinstance(x, Tracer)

    def from_numpy(self, values: np.ndarray[Any, Any], like: jax.Array) -> jax.Array:
        if isinstance(like, Tracer):
            return jnp.asarray(values)
        return jax.device_put(values, like.sharding)

    def to_numpy(self, array: jax.Array) -> np.ndarray[Any, Any]:
        return np.array(jax.lax.stop_gradient(array))

    def contiguous(self, array: jax.Array) -> jax.Array:
        return array

    def apart(self, tree: PyTree, others: PyTree) -> PyTree:
        return tree  # nobody can write to it

    def clip_unit(self, array: jax.Array) -> jax.Array:
        # jnp.clip alone would halve the derivative on the bounds; torch has 1 there, and 0 for NaN
        return jnp.where(jnp.abs(array) <= 1, array, jax.lax.stop_gradient(jnp.clip(array, -1, 1)))

    def stop_gradient(self, array: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(array)

    def no_grad(self, function: Callable[[], Any]) -> Any:
        return jax.tree.map(jax.lax.stop_gradient, function())

    def value_and_grad(self, function: Callable[[PyTree], jax.Array], tree: PyTree) -> tuple[jax.Array, PyTree]:
        return jax.jit(jax.value_and_grad(function))(tree)

    def origin(self, function: Callable[[PyTree], jax.Array], tree: PyTree) -> str:
        return ""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(function)

    def bridge(self, dynamics: Dynamics) -> JaxBridge:
        return JaxBridge(dynamics)

    def draw(self, fill: Fill, seed: jax.Array, episode: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        high_word = seed >> 32 if seed.dtype == jnp.int64 else jnp.zeros_like(seed)
        key = jnp.stack([seed, high_word]).astype(jnp.uint32).view(jnp.int32)
        worlds = episode.shape[0]
        dims = {"out": (worlds, math.prod(shape))}
        (flat,) = _draw_call(fill)(key, jax.lax.stop_gradient(episode), output_dims=dims)
        return flat.reshape((worlds, *shape))


JAX: Backend = JaxBackend()
