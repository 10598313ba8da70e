"""Contact for the twin: where shapes touch the ground, and with what force. Plain NumPy, one world.

A contact has a point ``x``, a unit normal ``n`` and a signed distance ``d``, negative inside; everything is in world
axes. ``twin.contact_forces`` turns these into joint forces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contact_laws import CONTACT_LAWS, Gains
from diffsim_core.rigid.contacts import HeightField, PointKind, tangents
from diffsim_core.rigid.model import FloatArray, RigidModel

SLIP_FLOOR = 1e-12
"""Added under the root of the tangential speed [m^2/s^2], so that friction has a derivative at rest."""


class Contact(NamedTuple):
    """Where two surfaces are closest."""

    x: FloatArray
    """The point ``[3]`` [m]."""
    n: FloatArray
    """Unit normal ``[3]``, towards the first shape."""
    d: float
    """Signed distance [m], negative inside."""


def contact_force(
    law: str, width: float, gains: tuple[float, float, float, float], contact: Contact, u: FloatArray
) -> FloatArray:
    """Force ``[3]`` [N] on the first shape: the law's along the normal, and friction across it.

    With normal speed ``un``, tangential velocity ``ut`` and ``m = min(d, 0)``, that is ``-(w - d)^2 / 4w`` where a
    ``width`` w smooths it and ``|d| < w``::

        f_n, bound = law(m, un)
        f_t = -ut min(kt, bound / |ut|)

    Args:
        law: name in ``CONTACT_LAWS``.
        width: of the smoothing [m]; zero for none.
        gains: kn, kd, kt, mu.
        contact: where.
        u: velocity ``[3]`` of the first shape against the second at the point [m/s].
    """
    m = inside_depth(contact.d, width)
    if m == 0:
        return np.zeros(3)
    un = float(u @ contact.n)
    constants = Gains(*gains)
    normal, bound = CONTACT_LAWS[law].normal(constants, m, un)
    return normal * contact.n + friction(constants.kt, bound, u - un * contact.n)


def inside_depth(d: float, width: float) -> float:
    """``min(d, 0)``, or its form that is smooth over a ``width`` [m]."""
    return -((width - d) ** 2) / (4 * width) if abs(d) < width else min(d, 0.0)


def contact_damper(
    law: str, width: float, gains: tuple[float, float, float, float], contact: Contact, u: FloatArray, dt: float
) -> FloatArray:
    """Damper ``[3, 3]`` [N s/m] of the implicit part; arguments as :func:`contact_force`, ``dt`` a sub-step [s].

    Across the normal the secant of friction, ``min(kt, bound / |ut|)``; along it ``kd |m| + dt kn`` inside.
    """
    m = inside_depth(contact.d, width)
    if m == 0:
        return np.zeros((3, 3))
    constants = Gains(*gains)
    un = float(u @ contact.n)
    ut = u - un * contact.n
    across = min(constants.kt, CONTACT_LAWS[law].normal(constants, m, un)[1] / np.sqrt(ut @ ut + SLIP_FLOOR))
    slope = float(np.clip((width - contact.d) / (2 * width), 0, 1)) if width else 1.0
    along = -constants.kd * m + dt * constants.kn * slope
    nn = np.outer(contact.n, contact.n)
    return across * (np.eye(3) - nn) + along * nn


def friction(kt: float, bound: float, ut: FloatArray) -> FloatArray:
    """Force ``[3]`` [N] of Coulomb friction at a tangential velocity: sticks with ``kt``, slides at ``bound``."""
    slip = np.sqrt(ut @ ut + SLIP_FLOOR)
    return -ut / slip * min(kt * slip, bound)


def shortening(model: RigidModel, c: int) -> FloatArray:
    """Map ``[3, 3]`` that multiplies what is along the second tangent of point ``c``'s plane by ``contact_ratio``.

    Friction on a shortened velocity, shortened again, has a bound of ``mu`` along one tangent and of ``ratio mu`` along
    the other: an ellipse, on which the force takes as much power as it can.
    """
    if model.contact_plane[c] < 0:
        return np.eye(3)
    second = tangents(model.ground_planes[model.contact_plane[c], :3])[1]
    return np.eye(3) + (model.contact_ratio[c] - 1) * np.outer(second, second)


# The ground


def catmull_rom(t: float) -> tuple[FloatArray, FloatArray]:
    """Weights ``[4]`` of the samples at -1, 0, 1, 2 for a place ``t`` in [0, 1), and their derivatives."""
    w = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    dw = [-1 + 4 * t - 3 * t**2, -10 * t + 9 * t**2, 1 + 8 * t - 9 * t**2, -2 * t + 3 * t**2]
    return np.array(w) / 2, np.array(dw) / 2


def terrain(field: HeightField, x: float, y: float) -> tuple[float, FloatArray]:
    """Height [m] of the ground and its slope ``[2]``."""
    place = (np.array([x, y]) - field.origin) / field.spacing
    ny, nx = field.heights.shape
    place = np.clip(place, -2, [nx + 1, ny + 1])
    below = np.floor(place).astype(int)
    columns = np.clip(below[0] + np.arange(-1, 3), 0, nx - 1)
    rows = np.clip(below[1] + np.arange(-1, 3), 0, ny - 1)
    patch = field.heights[np.ix_(rows, columns)]
    (wx, dx), (wy, dy) = (catmull_rom(t) for t in place - below)
    return float(wy @ patch @ wx), np.array([wy @ patch @ dx, dy @ patch @ wx]) / field.spacing


def support_offset(model: RigidModel, c: int, R: FloatArray, n: FloatArray) -> FloatArray:
    """From a contact point's centre to where its shape reaches furthest against ``n``; ``R``: the link's axes."""
    round_part = -model.contact_radius[c] * n
    if model.contact_kind[c] == PointKind.ROUND:
        return round_part
    axes = R @ rotation(model.contact_quat[c])
    A = axes @ np.diag(model.contact_size[c] ** 2) @ axes.T
    return round_part - A @ n / np.sqrt(n @ A @ n)


def ground_contact(model: RigidModel, c: int, R: FloatArray, x: FloatArray) -> Contact:
    """Contact point ``c`` of a link at ``x`` with axes ``R``, with its plane or the ground's tangent plane below it."""
    centre = x + R @ model.contact_pos[c]
    if (plane := int(model.contact_plane[c])) >= 0:
        *normal, distance = model.ground_planes[plane]
        n = np.array(normal)
        o = support_offset(model, c, R, n)
        return Contact(centre + o, n, float(n @ (centre + o) - distance))
    height, slope = model.ground_height, np.zeros(2)
    if model.ground_field is not None:
        height, slope = terrain(model.ground_field, centre[0], centre[1])
    n = np.array([*-slope, 1.0]) / np.sqrt(1 + slope @ slope)
    o = support_offset(model, c, R, n)
    return Contact(centre + o, n, float((centre[2] - height) * n[2] + n @ o))


def turning_dampers(
    model: RigidModel, rotation: FloatArray, position: FloatArray, V: FloatArray, dt: float
) -> Iterator[tuple[int, FloatArray]]:
    """Links, and dampers ``D [3, 3]`` [N m s/rad] of their turning: torsional and rolling friction is ``-D w``.

    With a lever l friction brakes the slip ``l w`` about the normal, and that across it, as it brakes sliding. Its arm
    is a radius r for each: the moment is r times the law's bound at most. Arguments are the links' axes, origins and
    twists.
    """
    for c in np.flatnonzero((model.contact_spin != 0) | (model.contact_roll != 0)):
        i = int(model.contact_link[c])
        contact = ground_contact(model, int(c), rotation[i], position[i])
        w, un = V[i, :3], float(contact.n @ (V[i, 3:] + np.cross(V[i, :3], contact.x)))
        m = inside_depth(contact.d + dt * un, model.contact_smoothing)
        if m == 0:
            continue
        gains = Gains(model.contact_kn[c], model.contact_kd[c], model.contact_kt[c], model.contact_mu[c])
        bound = CONTACT_LAWS[model.contact_law].normal(gains, m, un)[1]
        nn = np.outer(contact.n, contact.n)
        D = np.zeros((3, 3))
        for radius, part in ((model.contact_spin[c], nn), (model.contact_roll[c], np.eye(3) - nn)):
            slip = model.contact_lever[c] * part @ w
            D += radius * model.contact_lever[c] * min(gains.kt, bound / np.sqrt(slip @ slip + SLIP_FLOOR)) * part
        yield i, D
