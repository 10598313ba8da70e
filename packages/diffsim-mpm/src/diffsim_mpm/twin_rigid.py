"""Free rigid bodies in NumPy, to be read alone: ``_source/rigid_nodes.h``, ``rigid_sides.h`` and ``rigid_motion.h``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_mpm.chain import place, unit
from diffsim_mpm.shapes import STICKY, Numbers
from diffsim_mpm.twin_coupling import signed_distance

if TYPE_CHECKING:
    from diffsim_mpm.model import MpmModel
    from diffsim_mpm.rigid import RigidBody


class Moving(NamedTuple):
    """A rigid body somewhere."""

    body: RigidBody
    c: Numbers
    """Centre of mass ``[3]`` [m]."""
    axes: Numbers
    """Rotation matrix ``[3, 3]``."""
    numbers: Numbers
    """Mass and inertia ``[7]``, see ``MASSES``."""

    @property
    def inertia(self) -> Numbers:
        """About the centre of mass in the world's axes ``[3, 3]``."""
        return self.axes @ symmetric(self.numbers[1:]) @ self.axes.T

    @property
    def inertias(self) -> Numbers:
        """Of a twist ``[6, 6]``."""
        both = np.zeros((6, 6))
        both[:3, :3], both[3:, 3:] = self.numbers[0] * np.eye(3), self.inertia
        return both


def moving(body: RigidBody, pose: Numbers, numbers: Numbers | None = None) -> Moving:
    """A body at ``pose [7]``, with the body's own mass unless ``numbers [7]`` are given."""
    return Moving(body, pose[:3], rotation(unit(pose[3:])), body.numbers if numbers is None else numbers)


def symmetric(s: Numbers) -> Numbers:
    """The matrix ``[3, 3]`` of xx yy zz xy xz yz."""
    return np.array([[s[0], s[3], s[4]], [s[3], s[1], s[5]], [s[4], s[5], s[2]]])


def contact_force(gains: tuple[float, float, float], mu: float, n: Numbers, d: float, u: Numbers) -> Numbers:
    """Force ``[3]`` [N] on a point at depth ``d`` < 0 [m] and relative velocity ``u [3]`` [m/s]; n: unit normal."""
    kn, kd, kt = gains
    un = u @ n
    ut = u - un * n
    grip = kt if mu > 0 else 0.0
    return d * (kd * min(un, 0.0) - kn) * n - min(grip, -mu * kn * d / np.sqrt(ut @ ut + 1e-12)) * ut


def sides_load(model: MpmModel, b: Moving, twist: Numbers) -> Numbers:
    """Force and torque about the centre of mass ``[6]`` of a body's points on ground and walls [N, N m]."""
    gains = b.body.gains(model.dx)
    load = np.zeros(6)
    for axis, ends in enumerate(model.sides):
        for sign, at in zip((1.0, -1.0), ends, strict=True):
            n = sign * np.eye(3)[axis]
            mu = min(model.ground_friction, 1e6) if (axis, sign) == (2, 1.0) else 0.0
            for point in b.body.points:
                centre = b.axes @ point[:3]
                d = sign * (b.c[axis] + centre[axis] - at) - point[3]
                if d >= 0:
                    continue
                arm = centre - n * point[3]
                f = contact_force(gains, mu, n, d, twist[:3] + np.cross(twist[3:], arm))
                load += np.concatenate([f, np.cross(arm, f)])
    return load


def shapes_load(
    model: MpmModel, b: Moving, twist: Numbers, poses: tuple[Numbers, Numbers], dt: float
) -> tuple[Numbers, Numbers]:
    """Force and torque ``[6]`` of a body's points on the shapes of a chain, and the impulses on these ``[ns, 6]``."""
    shapes = model.shapes.shapes if model.shapes else ()
    gains = b.body.gains(model.dx)
    load, impulses = np.zeros(6), np.zeros((len(shapes), 6))
    for k, (shape, now, then) in enumerate(zip(shapes, *poses, strict=True)):
        E, E_then = now[:9].reshape(3, 3).T, then[:9].reshape(3, 3).T
        for point in b.body.points:
            centre = b.axes @ point[:3]
            d, n = (a[0] for a in signed_distance(shape, ((b.c + centre - now[9:]) @ E)[None]))
            d, n = d - point[3], E @ n
            if d >= 0:
                continue
            arm = centre - n * point[3]
            y = b.c + arm
            moved = (E_then @ E.T @ (y - now[9:]) + then[9:] - y) / dt
            u = twist[:3] + np.cross(twist[3:], arm) - moved
            f = contact_force(gains, min(shape.friction, 1e6), n, d, u)
            load += np.concatenate([f, np.cross(arm, f)])
            impulses[k] -= dt * np.concatenate([f, np.cross(y - now[9:], f)])
    return load, impulses


def local(b: Moving, pose: Numbers, x: Numbers) -> Numbers:
    """Points ``[n, 3]`` in the frame of a shape at ``pose [12]`` on the body."""
    return ((x - b.c) @ b.axes - pose[9:]) @ pose[:9].reshape(3, 3).T


def distance(b: Moving, x: Numbers) -> Numbers:
    """Signed distances ``[n]`` of points ``[n, 3]`` from a body [m]."""
    return np.min([signed_distance(shape, local(b, place(shape), x))[0] for shape in b.body.placed], axis=0)


def closest(b: Moving, x: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Influence ``[n]``, direction ``[n, 3]`` and friction ``[n]`` of the shape closest to each point ``[n, 3]``."""
    s, n, mu, least = np.zeros(len(x)), np.zeros(x.shape), np.zeros(len(x)), np.full(len(x), np.inf)
    for shape in b.body.placed:
        pose = place(shape)
        d, direction = signed_distance(shape, local(b, pose, x))
        here = ((d <= 0) | (d < shape.reach)) & (d < least)
        least = np.where(here, d, least)
        s = np.where(here, np.exp(np.minimum(-shape.softness * d, 0.0)), s)
        mu = np.where(here, shape.friction, mu)
        n = np.where(here[:, None], direction @ pose[:9].reshape(3, 3) @ b.axes.T, n)
    return s, n, mu


def taken(n: Numbers, mu: Numbers, rel: Numbers, *, friction: bool) -> Numbers:
    """Matrices ``[k, 3, 3]`` of what a body takes of velocities ``rel [k, 3]`` relative to it, at full influence."""
    vn = np.sum(rel * n, axis=1)
    speed = np.sqrt(np.sum((rel - vn[:, None] * n) ** 2, axis=1) + 1e-24)
    along = np.where(vn < 0, 1.0, 0.0)
    across = np.where(vn < 0, np.minimum(-mu * vn / speed, 1.0), 0.0) if friction else np.zeros(len(n))
    along, across = np.where(mu >= STICKY, 1.0, along), np.where(mu >= STICKY, 1.0, across)
    normal = n[:, :, None] * n[:, None, :]
    return along[:, None, None] * normal + across[:, None, None] * (np.eye(3) - normal)


def meet(b: Moving, twist: Numbers, x: Numbers, mass: Numbers, v: Numbers) -> tuple[Numbers, Numbers]:
    """Grid nodes against a body that gives way.

    Args:
        b: the body at the beginning of the sub-step.
        twist: what its twist would be without the nodes ``[6]``.
        x: nodes ``[n, 3]`` [m].
        mass: of each node ``[n]`` [kg]; empty ones keep their velocity.
        v: velocity of each node ``[n, 3]`` [m/s].

    Returns:
        The body's twist and the nodes' velocities.
    """
    s, n, mu = closest(b, x)
    arm = x - b.c
    J = np.zeros((len(x), 3, 6))  # from the body's twist to its velocity at a node
    J[:, :, :3] = np.eye(3)
    J[:, :, 3:] = np.cross(np.eye(3), arm[:, None]).swapaxes(1, 2)
    weight, after = mass * s, twist
    D = np.zeros((len(x), 3, 3))
    for friction in (False, True):
        D = taken(n, mu, v - J @ after if friction else v - J @ twist, friction=friction)
        S = b.inertias + np.einsum("k,kia,kij,kjb->ab", weight, J, D, J)
        after = twist + np.linalg.solve(S, np.einsum("k,kia,kij,kj->a", weight, J, D, v - J @ twist))
    return after, v - np.where(mass > 0, s, 0.0)[:, None] * np.einsum("kij,kj->ki", D, v - J @ after)


def alone(model: MpmModel, b: Moving, twist: Numbers, load: Numbers, dt: float) -> Numbers:
    """The twist ``[6]`` that a body would have after ``dt`` [s] without particles, at its attitude now."""
    load = load + sides_load(model, b, twist)
    gained = np.concatenate([np.asarray(model.gravity) + load[:3] / b.numbers[0], np.linalg.solve(b.inertia, load[3:])])
    return twist + dt * gained


def move(b: Moving, pose: Numbers, twist: Numbers, dt: float) -> tuple[Numbers, Numbers]:
    """Pose and twist after ``dt`` [s]: the body turns with its angular velocity, and keeps its angular momentum."""
    a = dt * twist[3:]
    angle = np.linalg.norm(a)
    turn = np.concatenate([[np.cos(angle / 2)], 0.5 * np.sinc(angle / 2 / np.pi) * a])
    after = np.concatenate([pose[:3] + dt * twist[:3], unit(quat_mul(turn, pose[3:]))])
    spin = np.linalg.solve(moving(b.body, after, b.numbers).inertia, b.inertia @ twist[3:])
    return after, np.concatenate([twist[:3], spin])
