"""Deformations where materials are easily wrong, a material that is not in the package, and finite differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffsim_mpm import Material, Parameter, register_material

HEADERS = Path(__file__).with_name("headers")


def rotations(n: int, seed: int) -> Any:
    """Random ones, ``[n, 3, 3]``."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, 3, 3)))
    Q *= np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None, :]
    return Q * np.linalg.det(Q)[:, None, None]


def stretched(stretches: Any, n: int = 8) -> Any:
    """``Q diag(stretches) Q2`` with random rotations, ``[n, 3, 3]``."""
    return rotations(n, 1) @ np.diag(stretches) @ rotations(n, 2)


def perturbed(size: float, n: int = 32, seed: int = 3) -> Any:
    """Rotations of I + random numbers of that size, upright ones."""
    F = np.eye(3) + size * np.random.default_rng(seed).standard_normal((4 * n, 3, 3))
    F = F[np.linalg.det(F) > 0.2][:n]
    return rotations(n, 4) @ F


DEFORMATIONS: dict[str, Any] = {
    "undeformed": np.eye(3)[None],
    "turned": rotations(8, 5),
    "larger": stretched((1.2, 1.2, 1.2)),
    "smaller": stretched((0.9, 0.9, 0.9)),
    "two equal": stretched((1.3, 1.3, 0.8)),
    "two equal, smaller": stretched((0.9, 0.6, 0.6)),
    "nearly equal": stretched((1.1, 1.1 + 1e-9, 1.1 - 1e-7)),
    "somewhat equal": stretched((1.1, 1.1 + 1e-4, 0.95)),
    "slightly strained": perturbed(1e-3),
    "strained": perturbed(0.3),
    "flat": stretched((2.5, 0.9, 0.1)),
}
"""All with a positive determinant."""

INVERTED: dict[str, Any] = {
    "inverted": stretched((1.2, 0.9, -0.3)),
    "inverted, two equal": stretched((1.1, 1.1, -0.5)),
}


def _kelvin_voigt(p: Any, C: Any, F: Any, h: Any) -> Any:
    Ft = np.swapaxes(F, -1, -2)
    S = p[..., 0, None, None] / 2 * (Ft @ F - np.eye(3))
    return F, h, F @ S @ Ft + p[..., 1, None, None] * (C + np.swapaxes(C, -1, -2))


KELVIN_VOIGT = Material(
    name="kelvin_voigt",
    header=HEADERS / "kelvin_voigt.h",
    parameters=(Parameter(name="E", unit="Pa", default=2e3), Parameter(name="viscosity", unit="Pa s", default=3.0)),
    stress=_kelvin_voigt,
    energy=lambda p, F: p[..., 0] / 8 * ((np.swapaxes(F, -1, -2) @ F - np.eye(3)) ** 2).sum((-1, -2)),
    stiffness=lambda p: p[..., 0],
    viscosity=lambda p: p[..., 1],
)
register_material(KELVIN_VOIGT)


def differences(function: Any, arrays: list[Any], steps: list[float]) -> list[Any]:
    """Central differences of ``function(*arrays) -> [n]`` by each number of arrays ``[n, ...]``, fourth order.

    ``steps``, one for each array, are relative to a number's size, or absolute where that is below one.
    """
    found = []
    for k, (a, step) in enumerate(zip(arrays, steps, strict=True)):
        grad = np.zeros_like(a)
        for index in np.ndindex(a.shape[1:]):
            at = (slice(None), *index)
            h = step * np.maximum(1.0, np.abs(a[at]))

            def moved(by: float, k: int = k, at: Any = at, h: Any = h) -> Any:
                given = [b.copy() for b in arrays]
                given[k][at] += by * h
                return function(*given)

            grad[at] = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h)
        found.append(grad)
    return found
