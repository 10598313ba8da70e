"""Conversion of arrays for Matplotlib, and the axes to draw on."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .._array import Array
from .._backend import backend_of


def numpy(name: str, array: Array, ndim: int) -> np.ndarray[Any, Any]:
    """``array`` in NumPy, checked to have ``ndim`` axes."""
    host = backend_of(array).to_numpy(array)
    if host.ndim != ndim or not host.size:
        raise ValueError(f"{name} has shape {host.shape}; expected {ndim} axes, none of them empty")
    return host


def axes(ax: Axes | None) -> Axes:
    """The axes given, or the current ones."""
    return plt.gca() if ax is None else ax
