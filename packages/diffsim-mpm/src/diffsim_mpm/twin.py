"""The readable twin: one world of the material point method in plain NumPy, on the whole grid. Slow, and to be read.

A sub-step (Hu et al. 2018, "A Moving Least Squares Material Point Method with Displacement Discontinuity and Two-Way
Rigid Body Coupling"): deformation gradients follow the velocity gradients, materials answer with stress and plastic
flow, particles leave momentum and mass on the grid, the grid's velocities meet gravity, rigid bodies, shapes, ground
and walls, and particles take them back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_mpm import twin_coupling, twin_rigid
from diffsim_mpm.materials import MATERIALS
from diffsim_mpm.model import FloatArray, MpmModel


class World(NamedTuple):
    """One world of :class:`MpmState`: the same arrays without the first axis, and what a model may not have, too."""

    q: FloatArray
    x: FloatArray
    v: FloatArray
    C: FloatArray
    F: FloatArray
    h: FloatArray
    pose: FloatArray = np.zeros((0, 7))
    twist: FloatArray = np.zeros((0, 6))


class Stencil(NamedTuple):
    """The 27 nodes around each particle."""

    node: tuple[Any, Any, Any]
    """Numbers of the nodes along each axis, ``[n, 27]`` each."""
    weight: FloatArray
    """``[n, 27]``; those of a particle add up to one."""
    arm: FloatArray
    """From the particle to the node ``[n, 27, 3]`` [m]."""


def stencil(x: FloatArray, dx: float) -> Stencil:
    """Quadratic B-splines about particles at ``x [n, 3]`` [m]."""
    base = np.floor(x / dx - 0.5).astype(int)
    f = x / dx - base
    along = np.stack([0.5 * (1.5 - f) ** 2, 0.75 - (f - 1) ** 2, 0.5 * (f - 0.5) ** 2], axis=1)  # [n, 3 nodes, 3 axes]
    offset = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(27, 3)
    node = base[:, None] + offset
    weight = np.prod([along[:, offset[:, axis], axis] for axis in range(3)], axis=0)
    return Stencil((node[..., 0], node[..., 1], node[..., 2]), weight, node * dx - x[:, None])


def stresses(
    model: MpmModel, C: FloatArray, F: FloatArray, h: FloatArray, parameters: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """F and h after plastic flow, and Kirchhoff stress ``[n, 3, 3]`` [Pa], from trial deformation gradients.

    ``parameters``: of the materials of all bodies, one after the other, then those of rigid ones; by default the
    model's.
    """
    F, h, tau, first, at = F.copy(), h.copy(), np.zeros_like(F), 0, 0
    for body in model.bodies:
        material = MATERIALS[body.material]
        p = material.row(**body.parameters)
        if parameters is not None:
            p = parameters[at : at + len(p)]
        rows = slice(first, first + body.n)
        F[rows], h[rows], tau[rows] = material.stress(p, C[rows], F[rows], h[rows])
        first, at = first + body.n, at + len(p)
    return F, h, tau


def grid_velocities(model: MpmModel, momentum: FloatArray, mass: FloatArray, dt: float) -> FloatArray:
    """Velocities of nodes ``[x, y, z, 3]`` [m/s] after gravity; zero where there is no mass."""
    full = mass > 1e-12 * model.masses.min()
    v = momentum / np.where(full, mass, 1.0)[..., None] + dt * np.asarray(model.gravity)
    return np.where(full[..., None], v, 0.0)


def meet_sides(model: MpmModel, v: FloatArray) -> FloatArray:
    """What ground and walls leave of the nodes' velocities."""
    v, wall = v.copy(), model.wall
    ground = v[:, :, :wall]
    v_n, speed = np.minimum(ground[..., 2], 0.0), np.linalg.norm(ground[..., :2], axis=-1)
    grip = np.where(v_n < 0, min(model.ground_friction, 1e30) * -v_n, 0.0)
    slides = speed > grip
    ground[..., :2] *= np.where(slides, 1 - grip / np.where(slides, speed, 1.0), v_n == 0)[..., None]
    for axis, cells in enumerate(model.cells):
        side = np.moveaxis(v, axis, 0)
        side[:wall, ..., axis] = np.maximum(side[:wall, ..., axis], 0.0)
        side[cells - wall + 1 :, ..., axis] = np.minimum(side[cells - wall + 1 :, ..., axis], 0.0)
    return v


def sub_step(
    model: MpmModel,
    world: World,
    dt: float,
    poses: tuple[Any, Any] | None = None,
    parameters: FloatArray | None = None,
    impulses: FloatArray | None = None,
    load: FloatArray | None = None,
) -> World:
    """One sub-step of ``dt`` [s]; ``poses`` of the shapes at its beginning and end. Adds to ``impulses [ns, 6]``.

    ``load [nr, 6]``: forces and torques on rigid bodies.
    """
    trial = world.F + dt * world.C @ world.F
    at = sum(len(MATERIALS[body.material].parameters) for body in model.bodies)  # where masses begin
    F, h, tau = stresses(model, world.C, trial, world.h, parameters)
    m, volume = model.masses, np.concatenate([body.volumes for body in model.bodies])
    near = stencil(world.x, model.dx)
    per_arm = 4 / model.dx**2  # the inverse of the quadratic B-splines' second moment
    affine = m[:, None, None] * world.C - (dt * per_arm * volume)[:, None, None] * tau
    nodes = tuple(cells + 1 for cells in model.cells)
    mass, momentum = np.zeros(nodes), np.zeros((*nodes, 3))
    np.add.at(mass, near.node, near.weight * m[:, None])
    carried = (m[:, None] * world.v)[:, None] + np.einsum("pij,pnj->pni", affine, near.arm)
    np.add.at(momentum, near.node, near.weight[..., None] * carried)

    v = grid_velocities(model, momentum, mass, dt).reshape(-1, 3)
    x = np.stack(np.meshgrid(*[np.arange(n) * model.dx for n in nodes], indexing="ij"), axis=-1).reshape(-1, 3)
    pose, twist = world.pose.copy(), world.twist.copy()
    for j, body in enumerate(model.rigid_bodies):
        numbers = None if parameters is None else parameters[at + 7 * j : at + 7 * j + 7]
        b = twin_rigid.moving(body, pose[j], numbers)
        pulled = np.zeros(6) if load is None else load[j]
        if poses is not None:
            pushed, felt = twin_rigid.shapes_load(model, b, twist[j], poses, dt)
            pulled = pulled + pushed
            if impulses is not None:
                impulses += felt
        spun = twin_rigid.alone(model, b, twist[j], pulled, dt)
        spun, v = twin_rigid.meet(b, spun, x, mass.ravel(), v)
        pose[j], twist[j] = twin_rigid.move(b, pose[j], spun, dt)
    if model.shapes is not None and poses is not None:
        v, felt = twin_coupling.collide(model.shapes, *poses, dt, x, mass.ravel(), v)
        if impulses is not None:
            impulses += felt
    v = meet_sides(model, v.reshape(*nodes, 3))

    around = near.weight[..., None] * v[near.node]
    v_next = around.sum(axis=1)
    C_next = per_arm * np.einsum("pni,pnj->pij", around, near.arm)
    return World(world.q, world.x + dt * v_next, v_next, C_next, F, h, pose, twist)


def step(
    model: MpmModel,
    world: World,
    u: Any,
    dt: float,
    substeps: int,
    parameters: FloatArray | None = None,
    impulses: FloatArray | None = None,
    load: FloatArray | None = None,
) -> World:
    """One control step of ``dt`` [s], in which joints move by ``u [nq]`` and ``load [nr, 6]`` acts on rigid bodies.

    Adds to ``impulses [ns, 6]`` what each shape feels: impulse [N s] and its moment about the shape's origin [N m s].
    """
    start = world
    for k in range(substeps):
        poses = None
        if model.shapes is not None:
            at = [twin_coupling.joints_at(model.shapes, start.q, u, i / substeps) for i in (k, k + 1)]
            poses = (twin_coupling.poses(model.shapes, at[0]), twin_coupling.poses(model.shapes, at[1]))
        world = sub_step(model, world, dt / substeps, poses, parameters, impulses, load)
    q = start.q if model.shapes is None else twin_coupling.joints_at(model.shapes, start.q, u, 1.0)
    return world._replace(q=q)
