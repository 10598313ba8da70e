"""A compiled MuJoCo model -> ``RigidModel``: one link per joint, everything welded behind it merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffsim_core.io._actuators import actuator_arrays
from diffsim_core.io._flags import switched_off
from diffsim_core.io._gains import contact_gains, limit_gains, pair_gains
from diffsim_core.io._grounds import Ground
from diffsim_core.io._hulls import mesh_hulls
from diffsim_core.io._joints import joint_of
from diffsim_core.io._mesh import contact_shapes
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import read_muscles
from diffsim_core.io._names import body_name, geom_name, joint_name, object_name
from diffsim_core.io._pairs import contact_pairs
from diffsim_core.io._passive import gravcomp_arrays, read_fluid
from diffsim_core.io._points import contact_arrays
from diffsim_core.io._solref import solref_contact_gains
from diffsim_core.io._tendons import read_tendons, scale_tendons
from diffsim_core.io.params import ContactParams, LimitParams
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.hulls import Hull
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import Body, FloatArray, Geom, RigidModel, Site

_SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_PLANE): "plane",
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_MESH): "mesh",
}


@dataclass
class _Link:
    parent: int
    joint: int
    """MuJoCo's joint index."""
    pos: FloatArray
    quat: FloatArray
    mass: float = 0.0
    moment: FloatArray = field(default_factory=lambda: np.zeros(3))
    """Mass times centre of mass, link frame [kg m]."""
    inertia: FloatArray = field(default_factory=lambda: np.zeros((3, 3)))
    """About the link's origin [kg m^2]."""


def links_and_bodies(m: Any, inertias: Mapping[int, FloatArray]) -> tuple[list[_Link], list[Body]]:
    """The links, parents first, and where each body of the file sits (index 0 is the world).

    ``inertias`` replaces the inertia ``[3, 3]`` about the centre of mass, body axes, of some bodies.
    """
    links: list[_Link] = []
    bodies = [Body(name="world", link=-1, pos=np.zeros(3), quat=np.array([1.0, 0, 0, 0]), mass=0.0)]
    for b in range(1, m.nbody):
        parent = bodies[m.body_parentid[b]]
        link = parent.link
        pos = parent.pos + rotation(parent.quat) @ m.body_pos[b]
        quat = quat_mul(parent.quat, m.body_quat[b])
        for j in range(m.body_jntadr[b], m.body_jntadr[b] + m.body_jntnum[b]):
            if joint_of(m, j).world:
                links.append(_Link(link, j, np.zeros(3), np.array([1.0, 0, 0, 0])))
                pos, quat = np.zeros(3), np.array([1.0, 0, 0, 0])
            else:
                anchor = m.jnt_pos[j]
                links.append(_Link(link, j, pos + rotation(quat) @ anchor, quat))
                pos, quat = -anchor, np.array([1.0, 0, 0, 0])
            link = len(links) - 1
        mass = float(m.body_mass[b])
        bodies.append(Body(name=body_name(m, b), link=link, pos=pos, quat=quat / np.linalg.norm(quat), mass=mass))
        if link >= 0:
            axes = rotation(m.body_iquat[b])
            inertia = inertias.get(b, axes @ np.diag(m.body_inertia[b]) @ axes.T)
            _add_mass(links[link], bodies[b], m.body_ipos[b], inertia)
    return links, bodies


def _add_mass(link: _Link, body: Body, com: FloatArray, inertia: FloatArray) -> None:
    """Weld a body to its link; ``com`` and the inertia about it are in the body's axes."""
    R = rotation(body.quat)
    r = body.pos + R @ com
    link.mass += body.mass
    link.moment = link.moment + body.mass * r
    link.inertia = link.inertia + R @ inertia @ R.T + body.mass * (r @ r * np.eye(3) - np.outer(r, r))


def _com_and_inertia(link: _Link) -> tuple[FloatArray, FloatArray]:
    """Centre of mass, and inertia about it."""
    if link.mass == 0.0:
        return np.zeros(3), np.zeros((3, 3))
    com = link.moment / link.mass
    inertia = link.inertia - link.mass * (com @ com * np.eye(3) - np.outer(com, com))
    return com, 0.5 * (inertia + inertia.T)


def geoms_of(m: Any, bodies: list[Body]) -> dict[int, Geom]:
    """Every shape of a kind that a viewer can draw, by MuJoCo's index, placed in its link's frame."""
    hulls = mesh_hulls(m)
    kinds = ((g, _SHAPES.get(int(m.geom_type[g]))) for g in range(m.ngeom))
    return {g: geom_of(m, bodies, g, kind, hulls.get(g)) for g, kind in kinds if kind is not None}


def _site(m: Any, bodies: list[Body], s: int) -> Site:
    body = bodies[m.site_bodyid[s]]
    return Site(
        name=object_name(m, "site", s) or f"site{s}",
        link=body.link,
        pos=body.pos + rotation(body.quat) @ m.site_pos[s],
        quat=quat_mul(body.quat, m.site_quat[s]),
    )


def geom_of(m: Any, bodies: list[Body], g: int, kind: str, hull: Hull | None = None) -> Geom:
    body = bodies[m.geom_bodyid[g]]
    return Geom(
        name=geom_name(m, g),
        type=kind,
        link=body.link,
        pos=body.pos + rotation(body.quat) @ m.geom_pos[g],
        quat=quat_mul(body.quat, m.geom_quat[g]),
        size=m.geom_size[g].copy(),
        rgba=m.geom_rgba[g].astype(np.float64),
        hull=hull,
    )


def to_rigid_model(
    m: Any,
    *,
    name: str,
    ground: Ground | None,
    touching: list[tuple[int, int]],
    mesh: str,
    inertias: Mapping[int, FloatArray],
    contact: ContactParams,
    limits: LimitParams,
    solref: bool,
    wrapping: str,
    contact_law: str,
    limit_law: str,
    notes: tuple[str, ...],
) -> RigidModel:
    """The plain arrays of a compiled model in which nothing unsupported was found."""
    links, bodies = links_and_bodies(m, inertias)
    joints = np.array([link.joint for link in links], dtype=np.int64)
    no_spring, no_damper, no_limit, no_gravity = (
        switched_off(m, flag) for flag in ("spring", "damper", "limit", "gravity")
    )
    no_friction = switched_off(m, "frictionloss")
    inertial = [_com_and_inertia(link) for link in links]
    types = [joint_of(m, j) for j in joints]
    geoms = geoms_of(m, bodies)
    shapes = contact_shapes(m, geoms, mesh)
    gains = solref_contact_gains(m, shapes, contact) if solref else contact_gains(m, links, shapes, contact)
    between = pair_gains(m, links, shapes, contact, touching)
    scalar = np.array([joint.scalar for joint in types], dtype=bool)
    model = RigidModel(
        name=name,
        link_parent=np.array([link.parent for link in links], dtype=np.int64),
        joint_type=np.array([JOINTS.index(joint.name) for joint in types], dtype=np.int64),
        joint_q=m.jnt_qposadr[joints].astype(np.int64),
        joint_dof=m.jnt_dofadr[joints].astype(np.int64),
        joint_name=tuple(joint_name(m, j) for j in joints),
        link_pos=np.array([link.pos for link in links]).reshape(-1, 3),
        link_quat=np.array([link.quat / np.linalg.norm(link.quat) for link in links]).reshape(-1, 4),
        joint_axis=np.where(scalar[:, None], m.jnt_axis[joints], 0.0),
        link_mass=np.array([link.mass for link in links]),
        link_com=np.array([com for com, _ in inertial]).reshape(-1, 3),
        link_inertia=np.array([inertia for _, inertia in inertial]).reshape(-1, 3, 3),
        q_ref=m.qpos0.copy(),
        q_spring=m.qpos_spring.copy(),
        joint_stiffness=np.zeros(m.njnt) if no_spring else m.jnt_stiffness.reshape(m.njnt, -1)[joints, 0],
        joint_limited=np.where(scalar & (not no_limit), m.jnt_limited[joints], 0).astype(np.int64),
        joint_range=m.jnt_range[joints].copy(),
        **limit_gains(m, joints, limits, limit_law, solref=solref),
        dof_damping=np.zeros(m.nv) if no_damper else m.dof_damping.reshape(m.nv, -1)[:, 0].copy(),
        dof_armature=m.dof_armature.copy(),
        dof_friction=np.zeros(m.nv) if no_friction else m.dof_frictionloss.copy(),
        **actuator_arrays(m),
        muscles=read_muscles(m, bodies, wrapping),
        tendons=read_tendons(m, bodies, wrapping),
        **contact_arrays(shapes, ground, gains, contact.mu),
        **gravcomp_arrays(
            m, bodies, np.array([link.mass for link in links]), np.array([com for com, _ in inertial]).reshape(-1, 3)
        ),
        fluid=read_fluid(m, bodies),
        pairs=contact_pairs(m, touching, shapes.__getitem__, between, contact.mu),
        gravity=np.zeros(3) if no_gravity else m.opt.gravity.copy(),
        contact_law=contact_law,
        limit_law=limit_law,
        bodies=tuple(bodies[1:]),
        geoms=tuple(geoms.values()),
        sites=tuple(_site(m, bodies, s) for s in range(m.nsite)),
        notes=notes,
    )
    return scale_tendons(model, limits)
