"""JAX: the bridge, a ``custom_vjp`` around a simulator's ``step`` and ``vjp`` (by XLA's FFI), and the ``Backend``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import warp as wp
from jax.core import Tracer

from diffsim_core._backend import Backend, Fill
from diffsim_core._buffer import Buffer
from diffsim_core._protocol import ArraySpec, Dynamics, PyTree, check_count, constant_spec, out_spec
from diffsim_core._rollout_scan import scan_rollout
from diffsim_core._warp import start_warp

_SCALAR = {"float32": wp.float32, "float64": wp.float64, "int32": wp.int32}


class JaxBridge:
    """``(state, control, constants) -> (next_state, ok)`` on JAX arrays; see ``differentiable``."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        kinds = {"state": dynamics.state_spec, "control": dynamics.control_spec, "constants": constant_spec(dynamics)}
        self.specs = tuple(spec for specs in kinds.values() for spec in specs)
        self.names = tuple(f"{kind}.{spec.name}" for kind, specs in kinds.items() for spec in specs)
        self.num_state = len(dynamics.state_spec)
        self.out_specs = tuple(ArraySpec(f"{i}_{spec.name}", spec.shape) for i, spec in enumerate(out_spec(dynamics)))
        self.on_cuda = dynamics.device.startswith("cuda")
        self._step = self._ffi("step", save=False)
        self._step_saving = self._ffi("step_saving", save=True)
        self._vjp = self._ffi_vjp()
        self._differentiable = self._custom_vjp()

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

    def _custom_vjp(self) -> Callable[..., Any]:
        num_out = len(self.out_specs)

        @jax.custom_vjp
        def step(*arrays: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(self._step(*arrays, output_dims=self._dims(arrays, save=False)))

        def forward(*arrays: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
            *out, ok, saved = self._step_saving(*arrays, output_dims=self._dims(arrays, save=True))
            return (*out, ok), (*arrays, ok, saved)

        def backward(residuals: tuple[jax.Array, ...], cotangents: tuple[Any, ...]) -> tuple[jax.Array, ...]:
            arrays = residuals[:-2]
            dims = {f"in_{spec.name}": a.shape for spec, a in zip(self._named(), arrays, strict=True)}
            return tuple(self._vjp(*residuals, *cotangents[:num_out], output_dims=dims))

        step.defvjp(forward, backward)
        return step

    def _named(self) -> tuple[ArraySpec, ...]:
        """The arrays under names that cannot collide, since FFI arguments are named."""
        return tuple(ArraySpec(f"{i}_{spec.name}", spec.shape) for i, spec in enumerate(self.specs))

    def _dims(self, arrays: Sequence[jax.Array], save: bool) -> dict[str, tuple[int, ...]]:
        num_worlds = arrays[0].shape[0]
        dims = {f"out_{spec.name}": (num_worlds, *spec.shape) for spec in self.out_specs}
        dims["ok"] = (num_worlds,)
        if save:
            dims["saved"] = (self.dynamics.saved_size(num_worlds),)
        return dims

    def _ffi(self, name: str, *, save: bool) -> Callable[..., Any]:
        named, dtype = self._named(), self.dynamics.dtype
        arguments = {f"x_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in named}
        arguments |= {f"out_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self.out_specs}
        arguments["ok"] = ("int32", 1)
        if save:
            arguments["saved"] = (dtype, 1)
        num_in, num_state, num_out = len(named), self.num_state, len(self.out_specs)

        def call(*arrays: Any) -> None:
            buffers = [self._buffer(array) for array in arrays]
            out = buffers[num_in:]
            self.dynamics.step(
                buffers[:num_state],
                buffers[num_state:num_in],
                out[:num_out],
                out[num_out],
                out[num_out + 1] if save else None,
            )

        return ffi_callable(name, call, arguments, len(arguments) - num_in)

    def _ffi_vjp(self) -> Callable[..., Any]:
        named, dtype = self._named(), self.dynamics.dtype
        arguments = {f"x_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in named}
        arguments |= {"ok": ("int32", 1), "saved": (dtype, 1)}
        arguments |= {f"ct_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self.out_specs}
        arguments |= {f"in_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in named}
        num_in, num_state, num_out = len(named), self.num_state, len(self.out_specs)

        def call(*arrays: Any) -> None:
            buffers = [self._buffer(array) for array in arrays]
            rest = buffers[num_in + 2 :]
            self.dynamics.vjp(
                buffers[:num_state],
                buffers[num_state:num_in],
                buffers[num_in],
                buffers[num_in + 1],
                rest[:num_out],
                rest[num_out:],
            )

        return ffi_callable("vjp", call, arguments, num_in)

    def _buffer(self, array: Any) -> Buffer:
        if array.device.is_cuda != self.on_cuda:
            device = self.dynamics.device
            raise ValueError(f"arrays are on {array.device}, the simulator was made for {device}: jax.device_put them")
        dtype = "int32" if array.dtype is wp.int32 else self.dynamics.dtype
        return Buffer(array.ptr or 0, tuple(array.shape), dtype, self.dynamics.device)


def ffi_callable(
    name: str, function: Callable[..., None], arguments: dict[str, tuple[str, int]], num_outputs: int
) -> Callable[..., Any]:
    """``function(*arrays)`` as a JAX operation; ``arguments`` maps names to (dtype, number of axes), outputs last.

    ``vmap`` runs it once per batch entry, because the simulators' scratch space is sized by worlds.
    """

    start_warp()

    def call(*arrays: Any) -> None:
        function(*arrays)

    annotations = {key: wp.array(dtype=_SCALAR[dtype], ndim=ndim) for key, (dtype, ndim) in arguments.items()}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__name__ = name
    call.__annotations__ = annotations
    call.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [inspect.Parameter(key, kind, annotation=annotation) for key, annotation in annotations.items()]
    )
    return wp.jax_callable(
        call,
        num_outputs=num_outputs,
        graph_mode=wp.JaxCallableGraphMode.NONE,
        vmap_method="sequential",
        module_preload_mode=wp.JaxModulePreloadMode.NONE,
    )


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
