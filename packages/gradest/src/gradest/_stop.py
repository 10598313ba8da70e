"""Constants to the gradient: NumPy's arrays as they are, the others' detached."""

from __future__ import annotations

from array_api_compat import is_jax_array, is_torch_array

from ._check import Array


def stop_gradient(x: Array) -> Array:
    """``x`` with no gradient flowing through it, any shape."""
    if is_torch_array(x):
        return x.detach()
    if is_jax_array(x):
        from ._jax import stop_gradient_jax

        return stop_gradient_jax(x)
    return x
