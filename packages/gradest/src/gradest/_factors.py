"""Discounts and lambdas: numbers, or arrays with one for every step and world."""

from __future__ import annotations

from typing import Any

from ._array import Array
from ._backend import backend_of
from ._check import check_arrays, check_factor
from ._values import refuse_nan


def check_factors(owner: str, like: Array, **factors: Array | float) -> tuple[Any, ...]:
    """Each factor as a Python float in [0, 1], or as an array ``[T, N]``.

    An array has the framework and the dtype of ``like [T, N]``. An axis along which it is constant may have length 1:
    ``[T, 1]`` and ``[1, N]`` are repeated. A number costs what it did, and changes no bit.

    Args:
        owner: name of the caller's argument ``like``.
        like: shape ``[T, N]``, which has been checked.
        factors: by the names of the caller's arguments.

    Raises:
        ValueError: a number is not in [0, 1]; an array has the wrong framework, shape or dtype, or, wherever its
            numbers can be read without waiting, holds NaN or a number outside [0, 1].
    """
    return tuple(_checked(owner, like, name, factor) for name, factor in factors.items())


def one_step_before(xp: Any, factor: Any) -> Any:
    """The factor of the step before each one; that of step 0 has no meaning."""
    if isinstance(factor, float):
        return factor
    return xp.concat([factor[:1, :], factor[:-1, :]], axis=0)


def at_row(factor: Any, row: int) -> Any:
    """The factor of one step, ``[N]`` or a number."""
    return factor if isinstance(factor, float) else factor[row, :]


def _checked(owner: str, like: Array, name: str, factor: Any) -> Any:
    if isinstance(factor, float) or getattr(factor, "ndim", 0) == 0:
        return check_factor(name, factor)
    shape = tuple(factor.shape)
    axes = " ".join("1" if length == 1 else axis for axis, length in zip("TN", shape, strict=False))
    xp = check_arrays({owner: (like, "T N"), name: (factor, axes if len(shape) == 2 else "T N")})
    refuse_nan(xp, **{name: factor})
    outside = (factor < 0.0) | (factor > 1.0)
    marked = xp.where(outside, xp.full_like(factor, float("nan")), factor)
    try:
        refuse_nan(xp, **{name: marked})
    except ValueError:
        count, where = int(xp.sum(xp.astype(outside, xp.int32))), backend_of(factor).to_numpy(outside).nonzero()
        raise ValueError(
            f"{name} has shape {shape} and holds {count} numbers outside [0, 1], the first at "
            f"[{', '.join(str(int(i[0])) for i in where)}]; expected numbers in [0, 1]"
        ) from None
    return xp.broadcast_to(factor, tuple(like.shape))
