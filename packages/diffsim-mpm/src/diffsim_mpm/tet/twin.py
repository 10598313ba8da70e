"""The readable twin: one world of soft bodies in plain NumPy, written as in the papers, with F, P and cofactors."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_mpm.tet.mesh import Numbers
from diffsim_mpm.tet.model import TetModel, rest_shapes


def deformation(model: TetModel, x: Numbers) -> Numbers:
    """Deformation gradient of each tetrahedron ``[m, 3, 3]`` at positions ``x [n, 3]`` [m]; its rate, of velocities."""
    corner = x[model.mesh.tets]
    return np.swapaxes(corner[:, 1:] - corner[:, :1], 1, 2) @ rest_shapes(model.mesh)


def cofactor(F: Numbers) -> Numbers:
    """``J F^-T`` ``[..., 3, 3]``; its columns are cross products of those of ``F``, which need not be invertible."""
    a, b, c = F[..., 0], F[..., 1], F[..., 2]
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-1)


def activations(model: TetModel, u: Numbers) -> Numbers:
    """Activation of each tetrahedron ``[m]``, from the control ``u [na]``."""
    actuators = np.asarray(model.actuators)
    return np.where(actuators >= 0, np.append(u, 0.0)[actuators], 0.0)


def energy(model: TetModel, x: Numbers, u: Numbers) -> float:
    """Elastic energy of all bodies [J]."""
    F, mu, lam = deformation(model, x), model.of_tets("k_mu"), model.of_tets("k_lambda")
    Ic, J = (F**2).sum(axis=(1, 2)), np.linalg.det(F)
    strain = J - (1 + 0.75 * mu / lam) + activations(model, u)
    density = mu / 2 * (Ic - 3) - mu / 2 * np.log(Ic + 1) + lam / 2 * strain**2
    return float((density * model.mesh.volumes).sum())


def stress(model: TetModel, F: Numbers, dF: Numbers, act: Numbers) -> Numbers:
    """First Piola-Kirchhoff stress of each tetrahedron ``[m, 3, 3]`` [Pa], damping included."""
    mu, lam, damp = (model.of_tets(name)[:, None, None] for name in ("k_mu", "k_lambda", "k_damp"))
    Ic = (F**2).sum(axis=(1, 2), keepdims=True)
    J, K = np.linalg.det(F)[:, None, None], cofactor(F)
    rate = (K * dF).sum(axis=(1, 2), keepdims=True)
    alpha = 1 + mu / lam - mu / (4 * lam)
    pressure = lam * (J - alpha + act[:, None, None]) + damp * rate
    return mu * F * (1 - 1 / (Ic + 1)) + damp * dF + pressure * K


def elastic_forces(model: TetModel, x: Numbers, v: Numbers, u: Numbers) -> Numbers:
    """Forces of the tetrahedra on the nodes ``[n, 3]`` [N]."""
    P = stress(model, deformation(model, x), deformation(model, v), activations(model, u))
    pull = (
        -model.mesh.volumes[:, None, None] * P @ np.swapaxes(rest_shapes(model.mesh), 1, 2)
    )  # columns: corners 1 to 3
    forces = np.zeros_like(x)
    for k in range(3):
        np.add.at(forces, model.mesh.tets[:, k + 1], pull[:, :, k])
        np.add.at(forces, model.mesh.tets[:, 0], -pull[:, :, k])
    return forces


def touch(model: TetModel, gap: float, n: Numbers, u: Numbers) -> Numbers:
    """Force on a node that is ``-gap`` inside something [N], see :class:`Contact`."""
    law = model.contact
    if gap >= 0:
        return np.zeros(3)
    fn = -law.ke * gap - law.kd * min(u @ n, 0.0)
    ut = u - (u @ n) * n
    speed = float(np.linalg.norm(ut))
    friction = min(law.kf * speed, law.mu * fn) * ut / speed if speed > 0 else np.zeros(3)
    return fn * n - friction


def contact_forces(model: TetModel, x: Numbers, v: Numbers, ends: Numbers, ends_v: Numbers) -> Numbers:
    """Forces of the ground and of the capsules on the nodes ``[n, 3]`` [N]."""
    forces = np.zeros_like(x)
    radius = model.contact.radius
    for i in range(len(x)):
        if model.ground is not None:
            forces[i] += touch(model, x[i, 2] - model.ground - radius, np.array([0.0, 0.0, 1.0]), v[i])
        for (a, b), (va, vb), thick in zip(ends, ends_v, model.capsules, strict=True):
            e = b - a
            s = float(np.clip((x[i] - a) @ e / (e @ e), 0, 1)) if e.any() else 0.0
            d = x[i] - (a + s * e)
            distance = float(np.linalg.norm(d))
            forces[i] += touch(model, distance - thick - radius, d / distance, v[i] - (va + s * (vb - va)))
    return forces


def step(
    model: TetModel,
    x: Numbers,
    v: Numbers,
    u: Numbers,
    *,
    dt: float,
    substeps: int,
    ends: Any = (),
    ends_v: Any = (),
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[Numbers, Numbers]:
    """Positions and velocities after a control step; arguments are those of :class:`TetDynamics`, of one world.

    ``scale`` are the factors on ``k_mu``, ``k_lambda`` and ``density``.
    """
    scaled = TetModel(
        mesh=model.mesh,
        k_mu=scale[0] * model.of_tets("k_mu"),
        k_lambda=scale[1] * model.of_tets("k_lambda"),
        density=scale[2] * model.of_tets("density"),
        k_damp=model.k_damp,
        actuators=model.actuators,
        gravity=model.gravity,
        ground=model.ground,
        capsules=model.capsules,
        contact=model.contact,
    )
    ends, ends_v = np.reshape(ends, (-1, 2, 3)), np.reshape(ends_v, (-1, 2, 3))
    h = dt / substeps
    for k in range(substeps):
        forces = elastic_forces(scaled, x, v, u)
        forces += contact_forces(scaled, x, v, ends + k * h * ends_v, ends_v)
        v = v + h * (forces / scaled.masses[:, None] + np.asarray(scaled.gravity))
        x = x + h * v
    return x, v
