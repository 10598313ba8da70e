"""``Backend``: all that the estimators ask of an array library beyond the array-API standard, and who offers it.

``backend_of`` is the one place that picks. The modules of torch and JAX are loaded once an array of theirs was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from array_api_compat import is_jax_array, is_torch_array

from ._array import Array
from ._numpy import NUMPY


class Backend(Protocol):
    """One array library."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def xp(self) -> Any:
        """The library's array-API namespace. ``array_api_compat.array_namespace`` would not compile in torch 2.10."""
        ...

    def stop_gradient(self, x: Array) -> Array:
        """``x``, any shape, through which no gradient flows."""
        ...

    def to_numpy(self, x: Array) -> np.ndarray[Any, Any]:
        """``x`` in host memory, cut from any graph."""
        ...

    def from_numpy(self, values: Any, like: Array) -> Array:
        """``values`` with the dtype and on the device of ``like``."""
        ...

    def linear_scan(self, a: Array, b: Array, x0: Array, reverse: bool) -> Array:
        """See ``linear_scan``."""
        ...

    def scan_steps(
        self, step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """See ``scan_steps``."""
        ...

    def gate(self, x: Array, keep: Array) -> Array:
        """``x``; its gradient passes only where ``keep`` (of the same rank) is true."""
        ...

    def bound(self, x: Array, max_norm: float) -> Array:
        """``x``; its gradient ``g`` becomes ``bound(xp, g, max_norm)``."""
        ...

    def clamp(self, x: Array, low: float | None, high: float | None) -> Array:
        """``x`` within the bounds. ``clip`` of array_api_compat neither compiles in torch 2.10 nor maps in its 1.13."""
        ...

    def cumsum(self, x: Array, axis: int) -> Array:
        """Sums of ``x`` up to each entry, in its dtype. array_api_compat's do not compile in torch 2.10."""
        ...

    def largest(self, x: Array) -> Array:
        """Largest absolute value along the last axis; infinite or NaN where ``x`` is."""
        ...

    def holds_nan(self, x: Array) -> bool:
        """Whether ``x`` holds NaN; False where its numbers cannot be read without waiting, or at all."""
        ...


def backend_of(array: Array) -> Backend:
    """The backend of an array; NumPy's for whatever is no array of torch or JAX."""
    if is_torch_array(array):
        from ._torch import TORCH

        return TORCH
    if is_jax_array(array):
        from ._jax import JAX

        return JAX
    return NUMPY


def clamp(x: Array, low: float | None, high: float | None) -> Array:
    """See ``Backend.clamp``."""
    return backend_of(x).clamp(x, low, high)


def cumsum(x: Array, axis: int) -> Array:
    """See ``Backend.cumsum``."""
    return backend_of(x).cumsum(x, axis)
