"""Functions of many parameters along one or two directions, and central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._backend import backend_of
from ._check import Array, check_arrays, check_count, check_number
from ._masked import places
from ._stop import stop_gradient
from ._values import refuse_nan


def finite_difference_gradient(
    f: Callable[[Array], Any], theta: Array, *, directions: Array | None = None, eps: float | None = None
) -> Array:
    """Central differences ``(f(theta + eps d) - f(theta - eps d)) / (2 eps)``.

    A reference for gradients without a closed form. The error is of order ``eps^2`` times the third derivative, plus
    the rounding of ``f`` over ``eps``. Across a jump the result is the jump over ``2 eps``.

    Args:
        f: function of parameters ``[P]``, which returns one number. A random function must use the same noise in every
            call.
        theta: parameters, shape ``[P]``, best in double precision.
        directions: shape ``[K, P]``; all ``P`` axes by default.
        eps: half-width; by default the cube root of the precision times the larger of 1 and the largest parameter.

    Returns:
        Derivatives along the directions, shape ``[K]`` (``[P]`` by default).

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range or holds NaN, or ``f`` does not return one
            finite number.
    """
    given = {"theta": (theta, "P")} | ({} if directions is None else {"directions": (directions, "K P")})
    xp = check_arrays(given)
    refuse_nan(xp, **{name: array for name, (array, _) in given.items()})
    theta = stop_gradient(theta)
    usual = float(xp.finfo(theta.dtype).eps) ** (1 / 3) * max(1.0, float(xp.max(xp.abs(theta))))
    width = usual if eps is None else check_number("eps", eps, 0.0, above=True)
    count = theta.shape[0] if directions is None else directions.shape[0]
    place = places(xp, theta)
    out = []
    for k in range(count):
        d = xp.astype(place == k, theta.dtype) if directions is None else directions[k, :]
        out.append((_number(f, theta + width * d) - _number(f, theta - width * d)) / (2 * width))
    return backend_of(theta).from_numpy(out, theta)


def random_directions(rng: np.random.Generator, theta: Array, *, count: int = 2) -> Array:
    """Random orthonormal directions for a landscape.

    Args:
        rng: NumPy's generator; the same seed gives the same directions for every array library.
        theta: parameters, shape ``[P]``.
        count: number of directions, at most ``P``.

    Returns:
        Shape ``[count, P]``, of the array library and dtype of ``theta``.

    Raises:
        ValueError: an argument has the wrong type or shape, or there are fewer parameters than directions.
    """
    check_arrays({"theta": (theta, "P")})
    count = check_count("count", count)
    if count > theta.shape[0]:
        raise ValueError(f"count is {count}; expected at most {theta.shape[0]}, the number of parameters in theta")
    q, r = np.linalg.qr(rng.normal(size=(theta.shape[0], count)))
    return backend_of(theta).from_numpy((q * np.sign(np.diag(r))).T.tolist(), theta)


def landscape_line(f: Callable[[Array], Any], theta: Array, direction: Array, radii: Sequence[float]) -> Array:
    """``f`` along a line through the parameters: ``f(theta + r d)`` for every radius ``r``.

    Args:
        f: function of parameters ``[P]``, which returns one number.
        theta: parameters, shape ``[P]``.
        direction: shape ``[P]``.
        radii: the radii ``r``.

    Returns:
        Values, shape ``[len(radii)]``; they may be infinite or NaN where ``f`` is.

    Raises:
        ValueError: an argument has the wrong type or shape, or ``f`` does not return one number.
    """
    check_arrays({"theta": (theta, "P"), "direction": (direction, "P")})
    theta = stop_gradient(theta)
    return backend_of(theta).from_numpy([_number(f, theta + float(r) * direction, finite=False) for r in radii], theta)


def landscape_plane(f: Callable[[Array], Any], theta: Array, directions: Array, radii: Sequence[float]) -> Array:
    """``f`` in a plane through the parameters: ``f(theta + r d_0 + s d_1)`` for all pairs of radii.

    With ``random_directions`` these are the landscapes of AGPO's Figure 3 and of SHAC's Figure 2.

    Args:
        f: function of parameters ``[P]``, which returns one number.
        theta: parameters, shape ``[P]``.
        directions: shape ``[2, P]``.
        radii: the radii ``r`` and ``s``.

    Returns:
        Values, shape ``[len(radii), len(radii)]``, the first direction along the first axis.

    Raises:
        ValueError: an argument has the wrong type or shape, or ``f`` does not return one number.
    """
    check_arrays({"theta": (theta, "P"), "directions": (directions, "2 P")})
    theta, (d0, d1) = stop_gradient(theta), (directions[0, :], directions[1, :])
    radii = [float(r) for r in radii]
    rows = [[_number(f, theta + r * d0 + s * d1, finite=False) for s in radii] for r in radii]
    return backend_of(theta).from_numpy(rows, theta)


def _number(f: Callable[[Array], Any], theta: Array, *, finite: bool = True) -> float:
    value = f(theta)
    if np.ndim(stop_gradient(value)):
        raise ValueError(f"f returned shape {tuple(value.shape)}; expected one number")
    number = float(value)
    if finite and not np.isfinite(number):
        raise ValueError(f"f returned {number}; expected a finite number near theta")
    return number
