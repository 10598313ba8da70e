"""The muscles of the twin: plain NumPy, one world, written to be read (formulas as MuJoCo documents them)."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._twin_paths import lengths_and_moments as lengths_and_moments
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.rigid.muscles import HillConstants


def force_length(length: float, lmin: float, lmax: float) -> float:
    """Active force over normalised length: 1 at 1, 1/2 halfway to ``lmin`` and ``lmax``, 0 at and beyond them."""
    a, b = 0.5 * (lmin + 1), 0.5 * (1 + lmax)
    if length < lmin or length > lmax:
        return 0.0
    if length <= a:
        return 0.5 * ((length - lmin) / (a - lmin)) ** 2
    if length <= 1:
        return 1 - 0.5 * ((1 - length) / (1 - a)) ** 2
    if length <= b:
        return 1 - 0.5 * ((length - 1) / (b - 1)) ** 2
    return 0.5 * ((lmax - length) / (lmax - b)) ** 2


def force_velocity(velocity: float, fvmax: float) -> float:
    """Active force over normalised velocity: 0 at -1, 1 at 0, ``fvmax`` from ``fvmax - 1`` on."""
    y = fvmax - 1
    if velocity <= -1:
        return 0.0
    if velocity <= 0:
        return (velocity + 1) ** 2
    return fvmax - (y - velocity) ** 2 / y if velocity <= y else fvmax


def force_passive(length: float, lmax: float, fpmax: float) -> float:
    """Passive force over normalised length: 0 up to 1, a parabola to halfway to ``lmax``, then straight."""
    x = (length - 1) / (0.5 * (1 + lmax) - 1)
    if x <= 0:
        return 0.0
    return fpmax * (0.5 * x * x if x <= 1 else x - 0.5)


def activation_rate(h: HillConstants, u: float, act: float) -> float:
    """``d act / dt`` [1/s]: faster up than down, and slower up the higher it is (Millard et al. 2013)."""
    excitation, inside = np.clip(u, 0, 1), np.clip(act, 0, 1)
    up, down = h.tau_act * (0.5 + 1.5 * inside), h.tau_deact / (0.5 + 1.5 * inside)
    gap = excitation - act
    if h.tau_smooth > 0:
        x = np.clip(gap / h.tau_smooth + 0.5, 0, 1)
        blend = 6 * x**5 - 15 * x**4 + 10 * x**3
    else:
        blend = float(gap > 0)
    return float(gap / (down + (up - down) * blend))


def hill_force(h: HillConstants, length: float, velocity: float, act: float) -> float:
    """Force along the length [N], negative where it pulls; both arguments times gear [m], [m/s]."""
    optimal = (h.length_high - h.length_low) / (h.range_high - h.range_low)
    L = h.range_low + (length - h.length_low) / optimal
    V = velocity / (optimal * h.vmax)
    active = force_length(L, h.lmin, h.lmax) * force_velocity(V, h.fvmax)
    return -h.force * (active * act + force_passive(L, h.lmax, h.fpmax))


def muscle_forces(
    model: RigidModel, rotation: FloatArray, position: FloatArray, S: FloatArray, qd: FloatArray, u: FloatArray,
    act: FloatArray, q: FloatArray | None = None,
) -> FloatArray:  # fmt: skip
    """Generalised force ``[nv]`` of all units: ``sum f dL/dq``."""
    muscles = model.muscles
    lengths, moments = lengths_and_moments(model, rotation, position, S, q)
    force = np.zeros(muscles.n)
    for i in range(muscles.n):
        gear, a = muscles.gear[i], muscles.activation[i]
        if a < 0:
            force[i] = gear * u[muscles.control[i]]
        else:
            velocity = moments[i] @ qd
            h = muscles.constants(i)
            force[i] = gear * hill_force(h, gear * float(lengths[i]), gear * velocity, float(act[a]))
    return moments.T @ force


def advance_activations(model: RigidModel, u: FloatArray, act: FloatArray, dt: float) -> FloatArray:
    """Activations ``[na]`` after ``dt`` [s] (explicit Euler, as MuJoCo)."""
    muscles, act = model.muscles, act.copy()
    for i in np.flatnonzero(muscles.activation >= 0):
        a = muscles.activation[i]
        excitation = float(u[muscles.control[i]])
        act[a] += dt * activation_rate(muscles.constants(int(i)), excitation, float(act[a]))
    return act
