"""The materials in NumPy, to be read, to be compared with the engine's C++, and for curves.

Every stress is a function ``(p, C, F, h) -> (F, h, tau)`` of arrays that broadcast: parameters ``p [..., np]`` in the
order of the material's entry, velocity gradient ``C [..., 3, 3]`` [1/s], trial deformation gradient ``F [..., 3, 3]``,
and the particle's own number ``h [...]``. It returns ``F`` and ``h`` after plastic flow and the Kirchhoff stress
``tau [..., 3, 3]`` [Pa], which is the Cauchy stress times ``det F``. An energy is a function ``(p, F) -> [...]``
[J/m^3 undeformed].
"""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.floating[Any]]]
State = tuple[Numbers, Numbers, Numbers]

LEAST_STRETCH = 0.01
"""Singular values below this count as this where their logarithm is taken."""
_I = np.eye(3)


def lame(E: Any, nu: Any) -> tuple[Any, Any]:
    """Lame's parameters ``(mu, lam)`` [Pa] from Young's modulus [Pa] and Poisson's ratio."""
    return E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))


def signed_svd(F: Numbers) -> State:
    """``(U, s, V)`` with ``F = U diag(s) V^T``, U and V rotations, ``s1 >= s2 >= |s3|``: s3 < 0 where F is inverted."""
    U, s, Vt = np.linalg.svd(F)
    for side in (U, np.swapaxes(Vt, -1, -2)):
        flip = np.linalg.det(side)
        side[..., :, 2] *= flip[..., None]
        s[..., 2] *= flip
    return U, s, np.swapaxes(Vt, -1, -2)


def rotation_of(F: Numbers) -> Numbers:
    """The rotation nearest to F."""
    U, _, V = signed_svd(F)
    return U @ np.swapaxes(V, -1, -2)


def neo_hookean(p: Numbers, C: Numbers, F: Numbers, h: Numbers) -> State:
    mu, lam = lame(p[..., 0], p[..., 1])
    spherical = lam * np.log(np.linalg.det(F)) - mu
    return F, h, _times(mu, F @ np.swapaxes(F, -1, -2)) + _times(spherical, _I)


def neo_hookean_energy(p: Numbers, F: Numbers) -> Numbers:
    mu, lam = lame(p[..., 0], p[..., 1])
    log_J = np.log(np.linalg.det(F))
    return mu / 2 * ((F**2).sum((-1, -2)) - 3) - mu * log_J + lam / 2 * log_J**2


def fixed_corotated(p: Numbers, C: Numbers, F: Numbers, h: Numbers) -> State:
    mu, lam = lame(p[..., 0], p[..., 1])
    J = np.linalg.det(F)
    return F, h, _times(2 * mu, (F - rotation_of(F)) @ np.swapaxes(F, -1, -2)) + _times(lam * (J - 1) * J, _I)


def fixed_corotated_energy(p: Numbers, F: Numbers) -> Numbers:
    mu, lam = lame(p[..., 0], p[..., 1])
    return mu * ((F - rotation_of(F)) ** 2).sum((-1, -2)) + lam / 2 * (np.linalg.det(F) - 1) ** 2


def von_mises(p: Numbers, C: Numbers, F: Numbers, h: Numbers) -> State:
    mu, lam = lame(p[..., 0], p[..., 1])
    U, s, V = signed_svd(F)
    mean, deviator = _parts(np.log(np.maximum(s, LEAST_STRETCH)))
    norm, most = np.linalg.norm(deviator, axis=-1), p[..., 2] / (2 * mu)
    keep = np.where(norm > most, most / np.maximum(norm, 1e-300), 1.0)
    e = mean + keep[..., None] * deviator
    return _build(U, np.exp(e), V), h, _hencky(U, e, mu, lam)


def hencky_energy(p: Numbers, F: Numbers) -> Numbers:
    """Of the elastic part, for :func:`von_mises` and :func:`drucker_prager`."""
    mu, lam = lame(p[..., 0], p[..., 1])
    e = np.log(signed_svd(F)[1])
    return mu * (e**2).sum(-1) + lam / 2 * e.sum(-1) ** 2


def drucker_prager(p: Numbers, C: Numbers, F: Numbers, h: Numbers) -> State:
    mu, lam = lame(p[..., 0], p[..., 1])
    sine = np.sin(p[..., 2])
    slope = np.sqrt(2 / 3) * 2 * sine / (3 - sine) * (3 * lam + 2 * mu) / (2 * mu)
    U, s, V = signed_svd(F)
    log_s = np.log(np.maximum(s, LEAST_STRETCH))
    _, deviator = _parts(log_s)
    volume, norm = log_s.sum(-1) + h, np.linalg.norm(deviator, axis=-1)
    apart, most = volume >= 0, -volume * slope
    keep = np.where(apart, 0.0, np.where(norm > most, most / np.maximum(norm, 1e-300), 1.0))
    e = np.where(apart, 0.0, volume / 3)[..., None] + keep[..., None] * deviator
    return _build(U, np.exp(e), V), np.where(apart, volume, 0.0), _hencky(U, e, mu, lam)


def fluid(p: Numbers, C: Numbers, F: Numbers, h: Numbers) -> State:
    K, gamma, viscosity = np.moveaxis(p, -1, 0)
    J = np.linalg.det(F)
    pressure = K / gamma * (J**-gamma - 1)
    rate = C + np.swapaxes(C, -1, -2)
    shear = rate - _times(np.trace(rate, axis1=-2, axis2=-1) / 3, _I)
    return _times(np.cbrt(J), _I), h, _times(viscosity * J, shear) - _times(J * pressure, _I)


def fluid_energy(p: Numbers, F: Numbers) -> Numbers:
    K, gamma, _ = np.moveaxis(p, -1, 0)
    J = np.linalg.det(F)
    volumes = np.log(J) if np.all(gamma == 1) else (J ** (1 - gamma) - 1) / (1 - gamma)
    return -K / gamma * (volumes - (J - 1))


def _times(a: Numbers, A: Numbers) -> Numbers:
    return np.asarray(a)[..., None, None] * A


def _parts(e: Numbers) -> tuple[Numbers, Numbers]:
    """Mean, as ``[..., 1]``, and deviator."""
    mean = e.mean(-1, keepdims=True)
    return mean, e - mean


def _build(U: Numbers, s: Numbers, V: Numbers) -> Numbers:
    return (U * s[..., None, :]) @ np.swapaxes(V, -1, -2)


def _hencky(U: Numbers, e: Numbers, mu: Numbers, lam: Numbers) -> Numbers:
    return _build(U, 2 * mu[..., None] * e + (lam * e.sum(-1))[..., None], U)
