"""Checks of arguments: a wrong array is an error that names it, never a silent broadcast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from array_api_compat import array_namespace, is_jax_array, is_numpy_array, is_torch_array

Array = Any
"""A NumPy array, a torch tensor or a JAX array (a tracer too)."""


def check_window(floats: Mapping[str, Array], flags: Mapping[str, Array]) -> Any:
    """Array namespace of a window of ``[T, N]`` arrays; the first one sets framework, shape and dtype.

    Looks only at types, shapes and dtypes, so it costs microseconds and works on JAX tracers.

    Raises:
        ValueError: an array is no array of a supported framework, mixes frameworks, is not of rank 2,
            is empty, differs in shape from the first, is not floating point (``floats``), differs in
            dtype from the first float, or is not boolean (``flags``).
    """
    arrays = {**floats, **flags}
    first = next(iter(arrays))
    framework = _framework(first, arrays[first])
    shape = tuple(arrays[first].shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{first} has shape {shape}; expected time-major [T, N] with T >= 1 and N >= 1")
    for name, array in arrays.items():
        if (other := _framework(name, array)) != framework:
            raise ValueError(
                f"{name} is a {other} array but {first} is a {framework} array; "
                "convert one of them, all arrays must come from one framework"
            )
        if tuple(array.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(array.shape)}; expected {shape} like {first}")
    xp = array_namespace(arrays[first])
    dtype = None
    for name, array in floats.items():
        if not xp.isdtype(array.dtype, "real floating"):
            raise ValueError(f"{name} has dtype {array.dtype}; expected a real floating-point dtype")
        dtype = dtype or array.dtype
        if array.dtype != dtype:
            raise ValueError(f"{name} has dtype {array.dtype}; expected {dtype} like {first}")
    for name, array in flags.items():
        if array.dtype != xp.bool:
            raise ValueError(f"{name} has dtype {array.dtype}; expected bool")
    return xp


def check_factor(name: str, factor: float) -> float:
    """``factor`` as a Python float (which never changes an array's dtype), checked to lie in [0, 1]."""
    try:
        number = float(factor)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {factor!r}; expected a number in [0, 1]") from error
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} is {number}; expected a number in [0, 1]")
    return number


def _framework(name: str, array: Array) -> str:
    if is_numpy_array(array):
        return "NumPy"
    if is_torch_array(array):
        return "torch"
    if is_jax_array(array):
        return "JAX"
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    raise ValueError(f"{name} is of type {kind}; expected a NumPy array, a torch tensor or a JAX array")
