"""How short a sub-step must be, from the masses and the stiffest forces of a model.

A stiff element ``k`` on an inertia ``m`` swings with ``w = sqrt(k / m)``. Semi-implicit Euler with sub-steps of ``h``
diverges beyond ``h w = 2``, and with an explicit damper ``c`` as soon as ``h^2 k / m + 2 h c / m`` exceeds 4. For
several elements and joints the quotient is the largest eigenvalue of ``(M + h C)^-1 (h^2 K + 2 h C')``, with ``C`` the
dampers that the sub-step treats implicitly and ``C'`` the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_loops import loop_rows
from diffsim_core.rigid._twin_tendons import tendon_moments
from diffsim_core.rigid.coupled import full_state, reduction, uncoupled
from diffsim_core.rigid.fluid import FluidShape
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.limits import has_limit_damper
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.rigid.tendon_bounds import tendon_gains

LONGEST = 1 / 960
"""Longest sub-step [s] that ``substeps="auto"`` takes: a sixteenth of the usual control step."""

ACCURATE = 1.0
"""Largest ``(h w)^2`` that ``substeps="auto"`` allows: half the longest stable sub-step."""

UNSTABLE = 4.0
"""``(h w)^2`` beyond which a linear spring diverges."""

MOST_DOFS = 300
"""Degrees of freedom of a tree beyond which its eigenvalues are not computed."""


class Element(NamedTuple):
    """Something stiff: springs and dampers along one or more directions ``J qd``."""

    label: str
    J: FloatArray
    """``[k, nv]``."""
    stiffness: float
    """[N/m] or [N m/rad]."""
    damping: float
    """[N s/m] or [N m s/rad]."""
    implicit: bool
    """Whether an implicit sub-step treats the damping, and a contact's spring, implicitly."""
    touches: bool = False
    """Whether this is a contact, which is judged by itself: nobody knows which of them will touch together."""


class Need(NamedTuple):
    """What a model asks of its sub-steps."""

    h: float
    """Longest sub-step [s] that keeps the largest quotient below the bound; infinite if nothing is stiff."""
    label: str
    """The stiffest element, such as ``servo of joint "wrist"``."""


def stiff_elements(model: RigidModel, q: FloatArray, integrator: str) -> Iterator[Element]:
    """Joint springs, limits, dampers, dry friction, servos, and contact with the ground at coordinates ``q``."""
    eye = np.eye(model.nv)
    for i, name in enumerate(model.joint_name):
        joint, d = JOINTS.at(int(model.joint_type[i])), int(model.joint_dof[i])
        if joint.world:
            continue
        J = eye[d : d + joint.nv]
        damping, friction = float(model.dof_damping[d]), float(model.dof_friction[d])
        if model.joint_stiffness[i]:
            yield Element(f'spring of joint "{name}"', J, float(model.joint_stiffness[i]), 0.0, True)
        if damping:
            yield Element(f'damping of joint "{name}"', J, 0.0, damping, True)
        if friction and integrator == "explicit":  # else it helps only while it sticks, and is not relied on
            yield Element(f'frictionloss of joint "{name}"', J, 0.0, friction / model.friction_width, False)
        if joint.scalar and model.joint_limited[i]:
            damped = has_limit_damper(model, i) or model.limit_law == "released"
            damper = float(model.limit_damping[i]) if damped else 0.0
            yield Element(f'limit of joint "{name}"', J, float(model.limit_stiffness[i]), damper, True)
    for a, d, bias in zip(model.servo_actuator, model.servo_dof, model.servo_bias, strict=True):
        stiffness, damping = max(-float(bias[1]), 0.0), max(-float(bias[2]), 0.0)
        if stiffness or damping:
            label = f'actuator "{model.actuator_name[a]}" on joint "{joint_of_dof(model, int(d))}"'
            yield Element(label, eye[d : d + 1], stiffness, damping, True)
    kin = twin.kinematics(model, q)
    yield from _tendons(model, kin, q)
    yield from _fluid(model, kin)
    if integrator == "explicit":
        yield from _loops(model, kin)
    for c, link in enumerate(model.contact_link):
        x = kin.position[link] + kin.rotation[link] @ model.contact_pos[c]
        label = f'contact of "{model.contact_geom[c]}"'
        J = twin.point_jacobian(model, kin, int(link), x)
        yield Element(label, J, float(model.contact_kn[c]), float(model.contact_kt[c]), True, True)


def _fluid(model: RigidModel, kin: twin.Kinematics) -> Iterator[Element]:
    """Viscous drag; that of density grows with speed, and matters where a shape crosses its own width in a step."""
    fluid = model.fluid
    for j, link in enumerate(fluid.link if fluid.viscosity else ()):
        name = next((body.name for body in model.bodies if body.link == link), model.joint_name[link])
        x = kin.position[link] + kin.rotation[link] @ fluid.pos[j]
        diameter = float(fluid.size[j].mean()) * (1 if fluid.kind[j] == FluidShape.BOX else 2)
        linear = twin.point_jacobian(model, kin, int(link), x)
        for J, damping in ((linear, 3 * np.pi * diameter), (_turning(model, kin, int(link)), np.pi * diameter**3)):
            yield Element(f'viscosity on "{name}"', J, 0.0, damping * fluid.viscosity, False)


def _turning(model: RigidModel, kin: twin.Kinematics, link: int) -> FloatArray:
    """Angular velocity ``[3, nv]`` of a link per unit of each degree of freedom."""
    J = np.zeros((3, model.nv))
    while link >= 0:
        first = int(model.joint_dof[link])
        dofs = slice(first, first + JOINTS.at(int(model.joint_type[link])).nv)
        J[:, dofs] = kin.S[:3, dofs]
        link = int(model.link_parent[link])
    return J


def _tendons(model: RigidModel, kin: twin.Kinematics, q: FloatArray) -> Iterator[Element]:
    """Springs, dampers, limits, friction and servos of tendons; implicit where they damp sums of joints."""
    moments = tendon_moments(model, *kin, q)[1]
    for i, (name, stiffness, damping) in enumerate(zip(model.tendons.name, *tendon_gains(model), strict=True)):
        if stiffness or damping:
            label = f'tendon "{name}"' if model.tendons.control[i] < 0 else f'actuator "{name}"'
            yield Element(label, moments[i : i + 1], float(stiffness), float(damping), bool(model.tendons.sums[i]))


def _loops(model: RigidModel, kin: twin.Kinematics) -> Iterator[Element]:
    """Places and axes that closures hold: the implicit sub-step is stable with any."""
    rows = loop_rows(model, *kin)
    first = 0
    for name, welded in zip(model.loops.name, model.loops.welded, strict=True):
        for _ in range(2 if welded else 1):
            J = rows.jacobian[first : first + 3]
            yield Element(f'equality "{name}"', J, float(rows.stiffness[first]), float(rows.damping[first]), False)
            first += 3


def _pairs(model: RigidModel, q: FloatArray, W: FloatArray, bound: float) -> Need:
    """The stiffest contact between bodies, at the shapes' centres: all of it is explicit."""
    pairs, need = model.pairs, Need(np.inf, "")
    kin = twin.kinematics(model, q)
    gives = []
    for solid in pairs.solids:
        link = solid.link
        if link < 0:
            gives.append(0.0)
            continue
        J = twin.point_jacobian(model, kin, link, kin.position[link] + kin.rotation[link] @ solid.centre)
        gives.append(float(np.linalg.eigvalsh(J @ W @ J.T)[-1]))
    for (first, second), kn, kt, names in zip(pairs.solid, pairs.kn, pairs.kt, pairs.geom, strict=True):
        h = _explicit(gives[first] + gives[second], float(kn), float(kt), bound)
        if h < need.h:
            need = Need(h, f'contact of "{names[0]}" with "{names[1]}"')
    return need


def _explicit(mobility: float, stiffness: float, damping: float, bound: float) -> float:
    """The ``h`` at which ``h^2 k w + 2 h c w`` reaches the bound."""
    a, b = stiffness * mobility, 2 * damping * mobility
    return float((-b + np.sqrt(b * b + 4 * a * bound)) / (2 * a)) if a else (bound / b if b else np.inf)


def joint_of_dof(model: RigidModel, d: int) -> str:
    """Name of the joint that a degree of freedom belongs to."""
    return model.joint_name[int(np.flatnonzero(model.joint_dof <= d)[-1])]


def longest_substep(model: RigidModel, q: FloatArray, integrator: str, bound: float) -> Need:
    """The longest sub-step at coordinates ``q`` ``[nq]`` whose quotient stays below ``bound``, and what bounds it."""
    need = Need(np.inf, "")
    if not model.nv or not small_enough(model):
        return need
    full, G = uncoupled(model), reduction(model, q, np.zeros(model.nv)).G
    x = full_state(model, q).q
    M = G.T @ twin.mass_matrix(full, twin.kinematics(full, x)) @ G
    K, C, explicit = (np.zeros((model.nv, model.nv)) for _ in range(3))
    elements = [e._replace(J=e.J @ G) for e in stiff_elements(full, x, integrator)]
    for e in elements:
        if not e.touches:
            K += e.stiffness * e.J.T @ e.J
            (C if e.implicit and integrator == "implicit" else explicit)[:] += e.damping * e.J.T @ e.J
    h = _longest(M, K, C, explicit, bound)
    if np.isfinite(h):
        need = Need(h, _stiffest(elements, M + h * C, h, integrator))
    W: FloatArray = np.linalg.inv(M).astype(np.float64)
    for e in elements:
        if not e.touches or (e.implicit and integrator == "implicit"):
            continue
        h = _explicit(float(np.linalg.eigvalsh(e.J @ W @ e.J.T)[-1]), e.stiffness, e.damping, bound)
        if h < need.h:
            need = Need(float(h), e.label)
    return min((need, _pairs(full, x, G @ W @ G.T, bound)), key=lambda found: found.h)


def needed_substeps(model: RigidModel, dt: float, integrator: str) -> int:
    """Sub-steps of a control step of ``dt`` seconds that keep the stiffest element accurate: ``substeps="auto"``.

    Judged in the reference pose and in three others within the joints' ranges.
    """
    h = min(longest_substep(model, q, integrator, ACCURATE).h for q in _poses(model))
    return max(1, int(np.ceil(dt / min(h, LONGEST) - 1e-9)))


def unstable_element(model: RigidModel, h: float, integrator: str) -> Need | None:
    """What makes sub-steps of ``h`` seconds diverge in the reference pose, or None."""
    need = longest_substep(model, np.array(model.q_ref, dtype=np.float64), integrator, UNSTABLE)
    return need if need.h < h else None


def small_enough(model: RigidModel) -> bool:
    """Whether dense eigenvalues are worth their time."""
    return model.nv <= MOST_DOFS


def _poses(model: RigidModel) -> Iterator[FloatArray]:
    rng = np.random.default_rng(0)
    q = np.array(model.q_ref, dtype=np.float64)
    yield q
    for _ in range(3):
        other = q.copy()
        for i in range(model.nl):
            a, joint = int(model.joint_q[i]), JOINTS.at(int(model.joint_type[i]))
            if joint.scalar and a < model.nq:
                lower, upper = model.joint_range[i] if model.joint_limited[i] else (q[a] - 1.0, q[a] + 1.0)
                other[a] = rng.uniform(lower, upper)
        yield other


def _longest(M: FloatArray, K: FloatArray, C: FloatArray, explicit: FloatArray, bound: float) -> float:
    """Largest h with ``lambda_max((M + h C)^-1 (h^2 K + 2 h C')) < bound``, to a percent."""
    if not K.any() and not explicit.any():
        return np.inf

    def within(h: float) -> bool:
        return _quotient(M + h * C, h * h * K + 2 * h * explicit) < bound

    low, high = 1e-9, 1.0
    if within(high):
        return np.inf
    while high > 1.01 * low:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def _quotient(A: FloatArray, B: FloatArray) -> float:
    scale = 1 / np.sqrt(np.diag(A))
    L = np.linalg.cholesky(scale[:, None] * A * scale)
    half = np.linalg.solve(L, scale[:, None] * B * scale)
    return float(np.linalg.eigvalsh(np.linalg.solve(L, half.T))[-1])


def _stiffest(elements: list[Element], A: FloatArray, h: float, integrator: str) -> str:
    """The element whose own quotient is the largest."""
    W = np.linalg.inv(A)

    def quotient(e: Element) -> float:
        explicit = 0.0 if e.implicit and integrator == "implicit" else e.damping
        largest = float(np.linalg.eigvalsh(e.J @ W @ e.J.T)[-1])
        return (h * h * e.stiffness + 2 * h * explicit) * largest

    return max((e for e in elements if not e.touches), key=quotient).label
