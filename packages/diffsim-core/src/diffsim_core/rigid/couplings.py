"""``Couplings``: joints that follow others exactly, and have no coordinate of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray

DEGREE = 4
"""Highest power in a law."""


class Coupling(NamedTuple):
    """One joint's law ``y - y_ref = sum_k c_k (x - x_ref)^k`` in another's coordinate, as MuJoCo's ``equality joint``.

    Both joints have one coordinate; ``x_ref`` and ``y_ref`` are theirs in ``RigidModel.q_ref``.
    """

    follower: str
    """Name of the joint with the coordinate y."""
    leader: str | None
    """Name of the joint with the coordinate x, which may follow another one; ``None``: y is constant."""
    coefficients: Sequence[float]
    """``c_0`` to ``c_4`` at most; the rest are zero."""


@dataclass(frozen=True, kw_only=True)
class Couplings:
    """``n`` joints whose coordinates are polynomials in other joints'; leaders come before their followers.

    The follower of row k has its place behind the model's own: coordinate ``nq + k`` and degree of freedom ``nv + k``.
    """

    link: IntArray
    """``[n]`` link whose joint follows."""
    leader: IntArray
    """``[n]`` link whose joint leads; -1 where the follower is held at a constant."""
    coefficients: FloatArray
    """``[n, 5]`` of ``(x - x_ref)^k`` in ``y - y_ref``."""
    q_ref: FloatArray
    """``[n]`` coordinate y_ref at which the follower's link sits as ``link_pos``/``link_quat`` say."""

    @classmethod
    def none(cls) -> Couplings:
        """No couplings."""
        empty = np.zeros(0, np.int64)
        return cls(link=empty, leader=empty, coefficients=np.zeros((0, DEGREE + 1)), q_ref=np.zeros(0))

    def __len__(self) -> int:
        return len(self.link)

    @property
    def curved(self) -> bool:
        """Whether any law is not linear."""
        return bool(self.coefficients[:, 2:].any())

    def law(self, k: int, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``y - y_ref``, its slope and its second derivative at ``x``, the leader's ``x - x_ref`` of any shape."""
        polynomial = np.polynomial.Polynomial(self.coefficients[k])
        return polynomial(x), polynomial.deriv(1)(x), polynomial.deriv(2)(x)
