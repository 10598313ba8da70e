"""Gates: nothing changes on the way forward; on the way back a gradient passes, or does not.

Multiplying a loss by zero does not stop what comes back from a rough simulator step, because zero times infinity is
NaN, and one NaN in one world reaches the parameters that all worlds share. A gate is a choice, not a product.
"""

from __future__ import annotations

from ._backend import backend_of
from ._check import Array, check_arrays, check_number


def gate_gradient(x: Array, keep: Array) -> Array:
    """``x``, through which a gradient flows back only where ``keep`` is true.

    Backwards ``g -> where(keep, g, 0)``: exactly zero where closed, whatever arrives, infinity and NaN included.
    Put it on the state (or observation) between two steps of a roll-out to cut single worlds from the graph, as
    ``credit_objective`` asks for where a piece restarts. For NumPy arrays there is no gradient and ``x`` is returned.

    Args:
        x: shape ``[N, ...]``.
        keep: bool, shape ``[N]``, or the shape of ``x``.

    Returns:
        ``x`` itself in value.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype; the message names it.
    """
    whole = tuple(getattr(keep, "shape", ())) == tuple(getattr(x, "shape", ()))
    xp = check_arrays({"x": (x, "..." if whole else "N ...")}, {"keep": (keep, "..." if whole else "N")})
    if not whole:
        keep = xp.reshape(keep, (-1, *(1 for _ in x.shape[1:])))
    return backend_of(x).gate(x, keep)


def gate_nonfinite(x: Array) -> Array:
    """``x``, through which no world's gradient flows back that is not finite.

    Backwards a world whose gradient holds infinity or NaN anywhere gets zeros: a part of a gradient would point
    somewhere else.

    Args:
        x: shape ``[N, ...]``.

    Returns:
        ``x`` itself in value.

    Raises:
        ValueError: ``x`` is no array of floating-point numbers with at least one axis.
    """
    return _bounded(x, float("inf"))


def gate_norm(x: Array, *, max_norm: float) -> Array:
    """``x``, through which no world's gradient flows back longer than ``max_norm``, nor any that is not finite.

    Backwards ``g_n -> g_n min(1, max_norm / |g_n|)`` for each world, over all its axes; zeros where it is not finite.
    On the state between steps it bounds what a roll-out can pass on, at the price of a bias.

    Args:
        x: shape ``[N, ...]``.
        max_norm: largest length of one world's gradient, above 0.

    Returns:
        ``x`` itself in value.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range; the message names it.
    """
    return _bounded(x, check_number("max_norm", max_norm, 0.0, above=True))


def _bounded(x: Array, max_norm: float) -> Array:
    check_arrays({"x": (x, "N ...")})
    return backend_of(x).bound(x, max_norm)
