"""Landscapes along one or two directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .._check import Array
from ._axes import axes, numpy


def landscape_line(values: Array, radii: Sequence[float], *, label: str | None = None, ax: Axes | None = None) -> Axes:
    """A function along a line (``gradest.landscape_line``), with a mark at the parameters.

    Args:
        values: shape ``[K]``.
        radii: the radii of the values, ``K`` numbers.
        label: name of the curve in a legend.
        ax: axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: ``values`` has the wrong shape, or ``radii`` has another length.
    """
    y, x = numpy("values", values, 1), np.asarray(radii, dtype=float)
    if len(x) != len(y):
        raise ValueError(f"radii has length {len(x)}; expected {len(y)} like values")
    ax = axes(ax)
    (line,) = ax.plot(x, y, label=label)
    ax.plot(0.0, np.interp(0.0, x, y), "o", color=line.get_color())
    ax.set_xlabel("distance along the direction")
    return ax


def landscape_plane(values: Array, radii: Sequence[float], *, ax: Axes | None = None, levels: int = 24) -> Axes:
    """A function in a plane (``gradest.landscape_plane``) as filled contours, with a mark at the parameters.

    Values that are not finite are left white.

    Args:
        values: shape ``[K, K]``, the first direction along the first axis.
        radii: the radii of the values in either direction, ``K`` numbers.
        ax: axes to draw on.
        levels: number of contours.

    Returns:
        The axes.

    Raises:
        ValueError: ``values`` has the wrong shape, ``radii`` has another length, or no value is finite.
    """
    z, x = numpy("values", values, 2), np.asarray(radii, dtype=float)
    if z.shape != (len(x), len(x)):
        raise ValueError(f"values has shape {z.shape}; expected {(len(x), len(x))} for {len(x)} radii")
    if not np.isfinite(z).any():
        raise ValueError("values holds no finite number to draw; choose smaller radii")
    ax = axes(ax)
    drawn = ax.contourf(x, x, np.ma.masked_invalid(z.T), levels=levels)
    ax.figure.colorbar(drawn, ax=ax)
    ax.plot(0.0, 0.0, "o", color="white", markeredgecolor="black")
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    ax.set_aspect("equal")
    return ax
