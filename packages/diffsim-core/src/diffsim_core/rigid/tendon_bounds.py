"""How fast a model's tendons make it swing and come to rest: what an explicit step must resolve."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_tendons import tendon_moments
from diffsim_core.rigid.coupled import full_state, reduction, uncoupled
from diffsim_core.rigid.model import FloatArray, RigidModel


class TendonRates(NamedTuple):
    """What every unit of ``model.tendons`` does to the inertia that it moves."""

    inertia: FloatArray
    """``[n]`` inertia along the length, ``1 / (J M^-1 J^T)`` [kg]; infinite where nothing moves."""
    stiffness: FloatArray
    """``[n]`` greatest ``-df/dL`` [N/m]."""
    damping: FloatArray
    """``[n]`` greatest ``-df/d(dL/dt)`` [N s/m]."""

    @property
    def frequency(self) -> FloatArray:
        """``[n]`` ``sqrt(stiffness / inertia)`` [1/s]; a sub-step of semi-implicit Euler needs at most 2 over it."""
        return np.sqrt(self.stiffness / self.inertia)

    @property
    def decay(self) -> FloatArray:
        """``[n]`` ``damping / inertia`` [1/s]; an explicit sub-step needs at most 2 over it."""
        return self.damping / self.inertia


def tendon_rates(model: RigidModel, q: FloatArray) -> TendonRates:
    """Rates in a pose ``q [nq]``; stiffness and damping are those with all limits reached, and friction slowest."""
    return TendonRates(tendon_inertia(model, q), *tendon_gains(model))


def tendon_gains(model: RigidModel) -> tuple[FloatArray, FloatArray]:
    """``[n]`` stiffness and ``[n]`` damping of each unit, as in :class:`TendonRates`."""
    passive, affine = model.tendons.passive.T, model.tendons.affine.T
    stiffness = passive[0] + passive[6] - affine[2]
    damping = passive[3] + passive[7] + passive[9] / np.where(passive[10] > 0, passive[10], 1.0) - affine[3]
    return np.maximum(stiffness, 0.0), np.maximum(damping, 0.0)


def tendon_inertia(model: RigidModel, q: FloatArray) -> FloatArray:
    """``[n]`` inertia ``1 / (J M^-1 J^T)`` [kg] along each length in a pose ``q [nq]``."""
    full, G, x = uncoupled(model), reduction(model, q, np.zeros(model.nv)).G, full_state(model, q).q
    kin = twin.kinematics(full, x)
    J = tendon_moments(full, *kin, x)[1] @ G
    mobility = np.einsum("nv,vn->n", J, np.linalg.solve(G.T @ twin.mass_matrix(full, kin) @ G, J.T))
    return 1.0 / np.maximum(mobility, 1e-12)


def least_inertia(model: RigidModel, poses: int = 16) -> FloatArray:
    """``[n]`` the least :func:`tendon_inertia` in the initial pose and others at random, joints within their ranges."""
    rng = np.random.default_rng(0)
    least = tendon_inertia(model, model.q_ref)
    for _ in range(poses):
        q = twin.integrate(model, model.q_ref, rng.normal(size=model.nv), 0.5)
        for i in np.flatnonzero(model.joint_limited):
            q[model.joint_q[i]] = rng.uniform(*np.sort(model.joint_range[i]))
        least = np.minimum(least, tendon_inertia(model, q))
    return least
