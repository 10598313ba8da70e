"""A simulator's ``step`` and ``vjp`` as calls of JAX, by XLA's foreign function interface."""

from __future__ import annotations

import ctypes
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import warp as wp

from diffsim_core._buffer import Buffer
from diffsim_core._jax_handler import Memory, register
from diffsim_core._protocol import ArraySpec, Dynamics, out_spec
from diffsim_core._slots import Slots
from diffsim_core._warp import start_warp
from diffsim_core.native._team import aligned

_SCALAR = {"float32": wp.float32, "float64": wp.float64, "int32": wp.int32}


class Calls(Protocol):
    """What a bridge is made of; ``arrays`` are state, control and constants."""

    def step(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """The next state, other outputs, and ``ok``."""
        ...

    def step_saving(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """The same, and what leads the backward pass to what the step kept."""
        ...

    def vjp(self, residuals: Sequence[jax.Array], cotangents: Sequence[Any]) -> tuple[jax.Array, ...]:
        """Cotangents of ``arrays``; ``residuals`` are those, ``ok`` and what ``step_saving`` returned last."""
        ...


class CpuCalls:
    """On a CPU. What a step keeps stays outside of JAX, in ``Slots``; JAX carries its number.

    A ``lax.scan`` would stack what each step keeps in one array, which takes as long as a third of the simulation. If
    a slot has given way before its backward pass, the step is simulated again: its inputs are at hand.
    """

    def __init__(self, dynamics: Dynamics, specs: Sequence[ArraySpec]) -> None:
        self._dynamics = dynamics
        self._out = out_specs = tuple(out_spec(dynamics))
        self._slots = Slots(dynamics.dtype)
        num_state, num_in, num_out = len(dynamics.state_spec), len(specs), len(out_specs)
        slots = weakref.ref(self._slots)  # targets are for ever, and must not keep this memory

        def buffers(memory: Sequence[Memory]) -> list[Buffer]:
            return [Buffer(ptr, shape, dynamics.dtype, dynamics.device) for ptr, shape in memory]

        def simulate(arrays: Sequence[Buffer], out: Sequence[Buffer], ok: Memory, saved: Buffer | None) -> None:
            dynamics.step(arrays[:num_state], arrays[num_state:], out, Buffer(*ok, "int32", dynamics.device), saved)

        def step(memory: Sequence[Memory]) -> None:
            found = buffers(memory[:-1])
            simulate(found[:num_in], found[num_in:], memory[-1], None)

        def step_saving(memory: Sequence[Memory]) -> None:
            *rest, ok, (address, _) = memory
            size, pool = dynamics.saved_size(ok.shape[0]), slots()
            number, saved = (0, aligned(size, dynamics.dtype)) if pool is None else pool.take(size)
            found = buffers(rest)
            simulate(found[:num_in], found[num_in:], ok, _buffer(saved, dynamics))
            _words(address)[:] = number & 0x7FFFFFFF, number >> 31

        def vjp(memory: Sequence[Memory]) -> None:
            arrays = buffers(memory[:num_in])
            ok, (address, _) = memory[num_in : num_in + 2]
            low, high = _words(address)
            pool = slots()
            found = None if pool is None else pool.find(high << 31 | low)
            saved = again(arrays, ok.shape[0]) if found is None else found
            rest = buffers(memory[num_in + 2 :])
            of_ok = Buffer(*ok, "int32", dynamics.device)
            kept = _buffer(saved, dynamics)
            try:
                dynamics.vjp(arrays[:num_state], arrays[num_state:], of_ok, kept, rest[:num_out], rest[num_out:])
            finally:
                if pool is not None and found is not None:
                    pool.give_back(found)

        def again(arrays: Sequence[Buffer], num_worlds: int) -> np.ndarray[Any, Any]:
            saved = aligned(dynamics.saved_size(num_worlds), dynamics.dtype)
            out = [np.empty((num_worlds, *spec.shape), dynamics.dtype) for spec in out_specs]
            ok = np.empty(num_worlds, np.int32)
            outs = [_buffer(array, dynamics) for array in out]
            simulate(arrays, outs, Memory(ok.ctypes.data, ok.shape), _buffer(saved, dynamics))
            return saved

        self._targets = {call.__name__: register(call.__name__, call) for call in (step, step_saving, vjp)}

    def step(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        return self._call("step", self._results(arrays), arrays)

    def step_saving(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        return self._call("step_saving", [*self._results(arrays), jax.ShapeDtypeStruct((2,), jnp.int32)], arrays)

    def vjp(self, residuals: Sequence[jax.Array], cotangents: Sequence[Any]) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        like = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in residuals[:-2]]
        return self._call("vjp", like, (*residuals, *cotangents))

    def _results(self, arrays: Sequence[jax.Array]) -> list[jax.ShapeDtypeStruct]:
        worlds = arrays[0].shape[0]
        out = [jax.ShapeDtypeStruct((worlds, *spec.shape), self._dynamics.dtype) for spec in self._out]
        return [*out, jax.ShapeDtypeStruct((worlds,), jnp.int32)]

    def _call(self, name: str, results: Sequence[jax.ShapeDtypeStruct], arrays: Sequence[Any]) -> tuple[jax.Array, ...]:
        # One batch entry after the other: the simulators' scratch space is sized by worlds.
        return tuple(jax.ffi.ffi_call(self._targets[name], results, vmap_method="sequential")(*arrays))


def _words(address: int) -> Any:
    """Two numbers of 32 bits, which hold the number of a slot."""
    return (ctypes.c_int32 * 2).from_address(address)


def _buffer(array: np.ndarray[Any, Any], dynamics: Dynamics) -> Buffer:
    return Buffer(array.ctypes.data, array.shape, dynamics.dtype, dynamics.device)


class CudaCalls:
    """On CUDA, through Warp, which brings the stream. What a step keeps is an array of JAX."""

    def __init__(self, dynamics: Dynamics, specs: Sequence[ArraySpec]) -> None:
        self._dynamics = dynamics
        # Arguments are named here, and names of a state and a control may be the same.
        self._specs = tuple(ArraySpec(f"{i}_{spec.name}", spec.shape) for i, spec in enumerate(specs))
        self._out = tuple(ArraySpec(f"{i}_{spec.name}", spec.shape) for i, spec in enumerate(out_spec(dynamics)))
        self._step, self._step_saving = self._ffi("step", save=False), self._ffi("step_saving", save=True)
        self._vjp = self._ffi_vjp()

    def step(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        return tuple(self._step(*arrays, output_dims=self._dims(arrays, save=False)))

    def step_saving(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        return tuple(self._step_saving(*arrays, output_dims=self._dims(arrays, save=True)))

    def vjp(self, residuals: Sequence[jax.Array], cotangents: Sequence[Any]) -> tuple[jax.Array, ...]:
        """See ``Calls``."""
        dims = {f"in_{spec.name}": a.shape for spec, a in zip(self._specs, residuals[:-2], strict=True)}
        return tuple(self._vjp(*residuals, *cotangents, output_dims=dims))

    def _dims(self, arrays: Sequence[jax.Array], save: bool) -> dict[str, tuple[int, ...]]:
        num_worlds = arrays[0].shape[0]
        dims = {f"out_{spec.name}": (num_worlds, *spec.shape) for spec in self._out}
        dims["ok"] = (num_worlds,)
        if save:
            dims["saved"] = (self._dynamics.saved_size(num_worlds),)
        return dims

    def _ffi(self, name: str, *, save: bool) -> Callable[..., Any]:
        dtype = self._dynamics.dtype
        arguments = {f"x_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self._specs}
        arguments |= {f"out_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self._out}
        arguments["ok"] = ("int32", 1)
        if save:
            arguments["saved"] = (dtype, 1)
        num_in, num_state, num_out = len(self._specs), len(self._dynamics.state_spec), len(self._out)

        def call(*arrays: Any) -> None:
            buffers = [self._buffer(array) for array in arrays]
            out = buffers[num_in:]
            saved = out[num_out + 1] if save else None
            self._dynamics.step(buffers[:num_state], buffers[num_state:num_in], out[:num_out], out[num_out], saved)

        return ffi_callable(name, call, arguments, len(arguments) - num_in)

    def _ffi_vjp(self) -> Callable[..., Any]:
        dtype = self._dynamics.dtype
        arguments = {f"x_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self._specs}
        arguments |= {"ok": ("int32", 1), "saved": (dtype, 1)}
        arguments |= {f"ct_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self._out}
        arguments |= {f"in_{spec.name}": (dtype, 1 + len(spec.shape)) for spec in self._specs}
        num_in, num_state, num_out = len(self._specs), len(self._dynamics.state_spec), len(self._out)

        def call(*arrays: Any) -> None:
            buffers = [self._buffer(array) for array in arrays]
            ok, saved, rest = buffers[num_in], buffers[num_in + 1], buffers[num_in + 2 :]
            state, control = buffers[:num_state], buffers[num_state:num_in]
            self._dynamics.vjp(state, control, ok, saved, rest[:num_out], rest[num_out:])

        return ffi_callable("vjp", call, arguments, num_in)

    def _buffer(self, array: Any) -> Buffer:
        device = self._dynamics.device
        if not array.device.is_cuda:
            raise ValueError(f"arrays are on {array.device}, the simulator was made for {device}: jax.device_put them")
        dtype = "int32" if array.dtype is wp.int32 else self._dynamics.dtype
        return Buffer(array.ptr or 0, tuple(array.shape), dtype, device)


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
