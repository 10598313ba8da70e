"""Directions along which an input is perturbed when its gradient is compared with differences, and how far that is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffsim_core._check_env import Numbers

Progress = Callable[[float], None]
"""Is told the part of the work that is done, from 0 to 1."""


def probes(count: int, most: int, random: np.random.Generator) -> Numbers:
    """``[K, count]``: unit vectors for an input of up to ``most`` numbers, else ``most`` random directions.

    A soft body has thousands of coordinates. A random direction sees an error in any of them, and costs as much as one
    coordinate.
    """
    return np.eye(count) if count <= most else random.normal(size=(most, count))
