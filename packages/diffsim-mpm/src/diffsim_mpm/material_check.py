"""``check_material``: a material's compiled stress against its twin, its adjoint against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffsim_mpm._probe import MaterialProbe
from diffsim_mpm.materials import Material


def rotations(n: int, seed: int) -> Any:
    """Random rotation matrices ``[n, 3, 3]``."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, 3, 3)))
    Q *= np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None, :]
    return Q * np.linalg.det(Q)[:, None, None]


def stretched(*stretches: float, n: int = 8) -> Any:
    """``Q diag(stretches) Q2`` with random rotations, ``[n, 3, 3]``."""
    return rotations(n, 1) @ np.diag(stretches) @ rotations(n, 2)


def perturbed(size: float, *, n: int = 32, seed: int = 3) -> Any:
    """Rotations of I + random numbers of that size, none of them inverted, ``[n, 3, 3]``."""
    F = np.eye(3) + size * np.random.default_rng(seed).standard_normal((4 * n, 3, 3))
    return rotations(n, 4) @ F[np.linalg.det(F) > 0.2][:n]


DEFORMATIONS: dict[str, Any] = {
    "undeformed": np.eye(3)[None],
    "turned": rotations(8, 5),
    "larger": stretched(1.2, 1.2, 1.2),
    "smaller": stretched(0.9, 0.9, 0.9),
    "two equal": stretched(1.3, 1.3, 0.8),
    "two equal, smaller": stretched(0.9, 0.6, 0.6),
    "nearly equal": stretched(1.1, 1.1 + 1e-9, 1.1 - 1e-7),
    "somewhat equal": stretched(1.1, 1.1 + 1e-4, 0.95),
    "slightly strained": perturbed(1e-3),
    "strained": perturbed(0.3),
    "flat": stretched(2.5, 0.9, 0.1),
}
"""Deformation gradients at which stresses and adjoints are easily wrong; none is inverted."""


class MaterialCheck(NamedTuple):
    """What :func:`check_material` found."""

    vjp: float
    """Largest error of the adjoint, relative to the largest cotangent of the same array at the same deformations."""
    twin: float
    """Largest difference from the twin: of F, of h, of the stress relative to the stiffness or the largest stress."""
    worst: str
    """Where the adjoint is worst: deformations and array."""


def check_material(
    material: str | Material,
    *,
    p: Any = None,
    deformations: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> MaterialCheck:
    """Check a material in double precision, with random velocity gradients, parameters and cotangents.

    Args:
        material: its name, or the entry itself.
        p: parameters ``[np]``, varied by a tenth; by default the material's.
        deformations: arrays ``[n, 3, 3]`` by name; by default :data:`DEFORMATIONS`.
        seed: of the random numbers.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    probe, rng = MaterialProbe(material), np.random.default_rng(seed)
    entry, worst, vjp, twin = probe.material, "", 0.0, 0.0
    row = entry.row() if p is None else np.asarray(p, np.float64)
    stiff = float(entry.stiffness(row))
    for name, F in (DEFORMATIONS if deformations is None else deformations).items():
        n, shape = len(F), (len(F), 3, 3)
        given = [
            row * rng.uniform(0.9, 1.1, (n, len(row))),
            rng.standard_normal(shape),
            F,
            0.02 * rng.standard_normal(n) * entry.has_h,
        ]
        out = _stress(probe, given)
        for a, b, size in zip(out, entry.stress(*given), (1.0, 1.0, max(stiff, np.abs(out.tau).max())), strict=True):
            twin = max(twin, float(np.abs(a - b).max() / size))
        gF, gh, gtau = rng.standard_normal(shape), rng.standard_normal(n), rng.standard_normal(shape)
        gtau /= stiff

        def value(*given: Any, gF: Any = gF, gh: Any = gh, gtau: Any = gtau) -> Any:
            out = _stress(probe, given)
            return (out.F * gF).sum((1, 2)) + out.h * gh + (out.tau * gtau).sum((1, 2))

        found = probe.vjp(given[2], gtau, gF=gF, gh=gh, p=given[0], C=given[1], h=given[3])
        expected = differences(value, given, [1e-4, 1e-4, 2e-5, 2e-5])
        rounding = 2e-12 * np.abs(value(*given)).max()  # of the differences, which is not an error of the adjoint
        for array, a, b in zip(found._fields, found, expected, strict=True):
            size = np.abs(b).max(axis=0) if array == "p" else np.abs(b).max()
            error = float((np.maximum(np.abs(a - b) - rounding, 0) / np.maximum(size, 1e-300)).max())
            if not error <= vjp:
                vjp, worst = error, f"{name}, {array}"
    return MaterialCheck(vjp, twin, worst)


def differences(function: Callable[..., Any], arrays: Sequence[Any], steps: Sequence[float]) -> list[Any]:
    """Central differences of fourth order of ``function(*arrays) -> [n]`` by each number of arrays ``[n, ...]``.

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


def _stress(probe: MaterialProbe, given: Sequence[Any]) -> Any:
    p, C, F, h = given
    return probe.stress(F, p, C=C, h=h)
