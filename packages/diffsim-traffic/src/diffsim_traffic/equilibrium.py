"""Uniform traffic of the Intelligent Driver Model: gap and speed in equilibrium, and whether waves grow."""

from __future__ import annotations

import math


def equilibrium_gap(v: float, *, a: float, b: float, T: float, s0: float, v0: float) -> float:
    """The gap [m] at which drivers of equal speed ``v`` [m/s] keep this speed: ``(s0 + v T) / sqrt(1 - (v / v0)^4)``.

    Raises:
        ValueError: no such gap exists, because ``v`` is not from 0 to below ``v0``.
    """
    if not 0 <= v < v0:
        raise ValueError(f"v={v!r} m/s must be from 0 to below the desired speed v0={v0!r} m/s")
    return (s0 + v * T) / math.sqrt(1 - (v / v0) ** 4)


def equilibrium_speed(gap: float, *, a: float, b: float, T: float, s0: float, v0: float) -> float:
    """The speed [m/s] that drivers keep at equal gaps [m]; 0 if the gap is at most ``s0``."""
    low, high = 0.0, v0
    for _ in range(200):
        middle = (low + high) / 2
        fits = middle < v0 and equilibrium_gap(middle, a=a, b=b, T=T, s0=s0, v0=v0) < gap
        low, high = (middle, high) if fits else (low, middle)
    return low


def sensitivities(v: float, *, a: float, b: float, T: float, s0: float, v0: float) -> tuple[float, float, float]:
    """Derivatives of the acceleration with respect to gap, own speed and leader's speed, in uniform traffic.

    Its speed ``v`` must be positive.
    """
    gap = equilibrium_gap(v, a=a, b=b, T=T, s0=s0, v0=v0)
    desired, root = s0 + v * T, 2 * math.sqrt(a * b)
    by_gap = 2 * a * desired**2 / gap**3
    per_desired = -2 * a * desired / gap**2
    return by_gap, -4 * a * v**3 / v0**4 + per_desired * (T + v / root), -per_desired * v / root


def is_string_stable(v: float, *, a: float, b: float, T: float, s0: float, v0: float) -> bool:
    """Whether long waves in uniform traffic of speed ``v`` [m/s] decay from car to car.

    The slope of the equilibrium speed over the gap must not exceed half the difference of the sensitivities to the
    leader's and the own speed (Treiber and Kesting, Traffic Flow Dynamics, chapter 15).
    """
    by_gap, by_v, by_lead = sensitivities(v, a=a, b=b, T=T, s0=s0, v0=v0)
    slope = -by_gap / (by_v + by_lead)
    return slope <= (by_lead - by_v) / 2


def gain(omega: float, v: float, *, a: float, b: float, T: float, s0: float, v0: float) -> float:
    """A follower's speed amplitude divided by its leader's, for small oscillations of ``omega`` [rad/s] about ``v``."""
    by_gap, by_v, by_lead = sensitivities(v, a=a, b=b, T=T, s0=s0, v0=v0)
    return float(abs((by_gap + 1j * omega * by_lead) / (by_gap - omega**2 - 1j * omega * by_v)))
