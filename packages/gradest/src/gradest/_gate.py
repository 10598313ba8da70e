"""Gates: the identity in the forward pass, which stop or limit gradients in the backward pass.

Multiplying a loss by zero does not stop an infinite gradient of a simulator step: zero times infinity is NaN, and one
NaN in one world reaches the parameters that all worlds share. A gate selects instead of multiplying.
"""

from __future__ import annotations

from ._backend import backend_of
from ._check import Array, check_arrays, check_number


def gate_gradient(x: Array, keep: Array) -> Array:
    """``x``, whose gradient passes only where ``keep`` is true.

    Backward pass: ``g -> where(keep, g, 0)``, exactly zero where closed, even if ``g`` is infinite or NaN. Apply it to
    the state (or observation) between two steps of a rollout to cut single worlds from the graph, as
    ``credit_objective`` requires where a segment restarts. A NumPy array is returned as it is.

    Args:
        x: shape ``[N, ...]``.
        keep: bool, shape ``[N]``, or the shape of ``x``.

    Returns:
        The values of ``x``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype; the message names it.
    """
    whole = tuple(getattr(keep, "shape", ())) == tuple(getattr(x, "shape", ()))
    xp = check_arrays({"x": (x, "..." if whole else "N ...")}, {"keep": (keep, "..." if whole else "N")})
    if not whole:
        keep = xp.reshape(keep, (-1, *(1 for _ in x.shape[1:])))
    return backend_of(x).gate(x, keep)


def gate_nonfinite(x: Array) -> Array:
    """``x``, whose gradient is set to zero in every world where it is not finite.

    Backward pass: a world whose gradient contains infinity or NaN gets zeros for all of it, because a part of a
    gradient has another direction.

    Args:
        x: shape ``[N, ...]``.

    Returns:
        The values of ``x``.

    Raises:
        ValueError: ``x`` is no array of floating-point numbers with at least one axis.
    """
    return _bounded(x, float("inf"))


def gate_norm(x: Array, *, max_norm: float) -> Array:
    """``x``, whose gradient is shortened to ``max_norm`` in every world, and set to zero where it is not finite.

    Backward pass: ``g_n -> g_n min(1, max_norm / |g_n|)`` for each world, over all its axes; zeros where it is not
    finite. Applied to the state between steps it bounds the gradients of a rollout, and biases them.

    Args:
        x: shape ``[N, ...]``.
        max_norm: largest length of one world's gradient, above 0.

    Returns:
        The values of ``x``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range; the message names it.
    """
    return _bounded(x, check_number("max_norm", max_norm, 0.0, above=True))


def _bounded(x: Array, max_norm: float) -> Array:
    check_arrays({"x": (x, "N ...")})
    return backend_of(x).bound(x, max_norm)
