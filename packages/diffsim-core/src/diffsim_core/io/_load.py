"""``load_model``: MJCF or URDF -> ``RigidModel``, or one error that names everything unsupported."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffsim_core.io._attributes import pair_notes
from diffsim_core.io._collision import PLANE, find_ground
from diffsim_core.io._compile import Repairs, compile_model, source_label
from diffsim_core.io._convert import links_and_bodies, to_rigid_model
from diffsim_core.io._couplings import coupling_notes, couplings_of, read_couplings, slopes_of
from diffsim_core.io._custom import read_custom
from diffsim_core.io._flags import inert
from diffsim_core.io._lift import lifted
from diffsim_core.io._loops import mocap_notes, with_loops
from diffsim_core.io._mesh import MESHES, without_meshes
from diffsim_core.io._mujoco import MjSpec
from diffsim_core.io._pairs import pair_problems, touching_pairs
from diffsim_core.io._reach import within_reach
from diffsim_core.io._terrain import height_fields
from diffsim_core.io._unread import unread
from diffsim_core.io._unsupported import find_unsupported, friction_notes, singular_joints
from diffsim_core.io._wrapping import WRAPPING, straightened
from diffsim_core.io.errors import ModelError
from diffsim_core.io.params import ContactParams, LimitParams, LoopParams, fill
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.contact_laws import CONTACT_LAWS
from diffsim_core.rigid.contacts import ContactPairs, HeightField
from diffsim_core.rigid.coupled import couple
from diffsim_core.rigid.model import LIMIT_LAWS, Body, FloatArray, Geom, RigidModel

INERTIA_LAWS = ("paper", "released")


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what overflows is refused by name at the end
def load_model(
    source: str | Path | MjSpec,
    *,
    root: str | Path | None = None,
    contact: ContactParams | Literal["mujoco"] | None = None,
    limits: LimitParams | None = None,
    loops: LoopParams | None = None,
    contact_law: str | None = None,
    limit_law: str | None = None,
    inertia_law: str | None = None,
    ground: float | HeightField | None = None,
    body_contact: bool = False,
    floating: bool = False,
    wrapping: str = "simulate",
    mesh: str = "hull",
    balanceinertia: bool | None = None,
    boundmass: float | None = None,
    boundinertia: float | None = None,
    name: str | None = None,
) -> RigidModel:
    """Load a robot from an MJCF or URDF file through MuJoCo's compiler.

    Each joint becomes a link; bodies without joints are welded into the link that carries them. A
    joint that an ``equality joint`` or URDF's ``mimic`` ties to another one follows it exactly. Contact is
    between the ground (a horizontal ``plane`` or an ``hfield`` geom of the world) and the spheres, capsules, boxes,
    cylinders, ellipsoids and meshes whose ``contype``/``conaffinity`` let them touch it, and between these and fixed
    ones; on request also between bodies. Sensors, cameras, lights, keyframes and visuals are ignored.
    A URDF joint with an effort limit gets a motor of that strength. Files that a model names are read from the
    model's own folder only, or from below ``root``. A ``mujoco.MjSpec`` is loaded as it stands and stays as it is:
    what it names was named by the caller and is read from anywhere, and no motors are added.

    Penalty parameters come from the keyword arguments, else from the file, else from the defaults documented in
    ``ContactParams``, ``LimitParams`` and ``LoopParams``. In the file they are::

        <custom>
          <numeric name="diffsim_contact" data="kn kd kt mu"/>   <!-- mu may be left out -->
          <numeric name="diffsim_limit" data="stiffness damping"/>
          <numeric name="diffsim_loop" data="stiffness damping torsion torsion_damping"/>
          <text name="diffsim_contact_law" data="released"/>     <!-- or "paper", the default -->
          <text name="diffsim_limit_law" data="released"/>
          <numeric name="diffsim_inertia:BODY" data="xx yy zz xy xz yz"/>
          <text name="diffsim_inertia_law" data="released"/>
        </custom>

    Args:
        source: path of an ``.xml``, ``.mjcf`` or ``.urdf`` file, or the XML itself, or a ``mujoco.MjSpec``.
        root: folder that the model and all files that it names must lie in; default the model's own folder.
        contact: contact parameters of all contact points. ``"mujoco"`` reads the file's ``timestep``, ``solref`` and
            ``solimp`` into stiffness and damping of contact and limits; contact then follows the ``released`` law, as
            MuJoCo's dampers do not pull back what leaves.
        limits: parameters of all joint limits.
        loops: parameters of all ``connect`` and ``weld`` equalities, which become springs and dampers.
        contact_law: ``"paper"``, ``"released"`` or another of ``diffsim_core.rigid.CONTACT_LAWS``.
        limit_law: ``"paper"``, ``"released"`` or ``"damped"``, see ``RigidModel.limit_law``; by default ``"paper"``
            where a stiffness is given, else ``"damped"``.
        inertia_law: ``"paper"`` takes inertias from shapes and ``inertial`` elements; ``"released"`` replaces those for
            which the file has a ``diffsim_inertia:BODY`` (about the centre of mass, body axes), which need not
            belong to any distribution of mass.
        ground: height z [m] of a ground plane, or a ``HeightField``, that replaces the file's; every shape with a
            collision mask touches it.
        body_contact: let moving shapes touch each other too, where MuJoCo's filters say so (masks, ``exclude``,
            ``pair``, parent and child), and the robot's own fixed base. Without it they touch the ground and fixed
            obstacles within their reach.
        floating: put a free joint on root bodies that the file fixes to the world (URDF cannot say so itself), and
            lift each out of the ground, if the file has it there.
        wrapping: ``"simulate"`` how tendons wrap around spheres and cylinders, as MuJoCo does, or take their paths as
            ``"straight"`` lines from site to site, side sites left out, which is faster: wherever a path would wrap, it
            is shorter and has other lever arms. ``RigidModel.notes`` then has a sentence for each such tendon.
        mesh: what touches for a mesh: its convex ``"hull"``, a ``"box"`` or an ``"ellipsoid"`` as large as the mesh
            along its axes of inertia, or nothing (``"off"``, with a note).
        balanceinertia: make each body's inertia one that a body can have, where the file's breaks the triangle
            inequality; default the file's setting, that of MuJoCo's ``compiler``. So are the next two.
        boundmass: least mass [kg] of each body but the world.
        boundinertia: least principal moment of inertia [kg m^2] of each body but the world.
        name: name of the model; default the file's.

    Raises:
        ModelError: the file cannot be read or compiled, or holds something that is not simulated; the
            message lists every such element by kind and name with a remedy.
    """
    label = source_label(source)
    if ground is not None and not isinstance(ground, HeightField) and not np.isfinite(ground):
        raise ValueError(f"ground is {ground}: give a finite height in metres")
    if wrapping not in WRAPPING:
        raise ValueError(f"wrapping is {wrapping!r}: use {' or '.join(map(repr, WRAPPING))}")
    if mesh not in MESHES:
        raise ValueError(f"mesh is {mesh!r}: use {', '.join(map(repr, MESHES))}")
    repairs = Repairs(balanceinertia=balanceinertia, boundmass=boundmass, boundinertia=boundinertia)
    m, warned, floated = compile_model(source, floating=floating, root=root, repairs=repairs)
    custom, custom_problems = read_custom(m)
    if isinstance(contact, str) and contact != "mujoco":
        raise ValueError(f'contact is {contact!r}: give ContactParams(...), "mujoco" or nothing')
    solref = isinstance(contact, str)
    given_limits = fill(limits, custom.limits).stiffness is not None
    laws = {
        "contact_law": contact_law or custom.contact_law or ("released" if solref else "paper"),
        "limit_law": limit_law or custom.limit_law or ("paper" if given_limits else "damped"),
        "inertia_law": inertia_law or custom.inertia_law or "paper",
    }
    known = {"contact_law": tuple(CONTACT_LAWS), "limit_law": LIMIT_LAWS, "inertia_law": INERTIA_LAWS}
    problems = [
        f'{key} "{law}" is unknown: use {" or ".join(known[key])}' for key, law in laws.items() if law not in known[key]
    ]
    inertias = custom.inertias if laws["inertia_law"] == "released" else {}
    links, bodies = links_and_bodies(m, inertias)
    found, contact_problems, notes = find_ground(
        m, bodies, _planes(m, bodies), height_fields(m, bodies), ground, body_contact
    )
    touching = within_reach(m, links, bodies, touching_pairs(m, bodies, moving=body_contact))
    if mesh == "off":
        found, touching, left_out = without_meshes(m, found, touching)
        notes += left_out
    contact_problems += pair_problems(m, touching)
    notes += pair_notes(m, touching)
    laws_of_joints, coupling_problems = read_couplings(m)
    problems += custom_problems + find_unsupported(m) + coupling_problems + contact_problems
    notes += coupling_notes(m, laws_of_joints)
    if m.nv == len(laws_of_joints):
        problems.append("nothing in it can move: give a body a joint (or load a fixed base with floating=True)")
    problems += singular_joints(m, slopes_of(m, laws_of_joints)) if not problems else []
    if inertias:
        names = ", ".join(bodies[b].name for b in inertias)
        notes.append(f"rotational inertia of {names}: the file's numbers instead of the shapes'")
    if problems:
        raise ModelError(label, problems)
    straight = straightened(m) if wrapping == "straight" else []
    model = to_rigid_model(
        m,
        name=name or _model_name(m),
        ground=found,
        touching=touching,
        mesh=mesh,
        inertias=inertias,
        contact=fill(None if isinstance(contact, str) else contact, custom.contact),
        solref=solref,
        limits=fill(limits, custom.limits),
        wrapping=wrapping,
        contact_law=laws["contact_law"],
        limit_law=laws["limit_law"],
        notes=(*notes, *friction_notes(m), *straight, *mocap_notes(m), *inert(m), *unread(m), *warned),
    )
    model = lifted(model, {bodies[b].link for b in floated})
    model = with_loops(model, m, bodies, fill(loops, custom.loops))
    if isinstance(ground, (int, float)):
        model = replace(model, geoms=(*model.geoms, _floor(float(ground))))
    if bad := _non_finite(model):
        raise ModelError(label, [f"{field} has values that are not finite: correct the file" for field in bad])
    return couple(model, couplings_of(m, laws_of_joints))


def _floor(height: float) -> Geom:
    """What a viewer draws of a ground that replaces the file's."""
    size, grey = np.array([50.0, 50.0, 1.0]), np.array([0.5, 0.5, 0.5, 1.0])
    pos, quat = np.array([0.0, 0.0, height]), np.array([1.0, 0.0, 0.0, 0.0])
    return Geom(name="ground", type="plane", link=-1, pos=pos, quat=quat, size=size, rgba=grey)


def _model_name(m: Any) -> str:
    return bytes(m.names).split(b"\0", 1)[0].decode("utf-8", "replace")


def _planes(m: Any, bodies: list[Body]) -> dict[int, FloatArray]:
    """Upward normal and distance from the origin ``[4]`` of every static plane."""
    planes = {}
    for g in range(m.ngeom):
        body = bodies[m.geom_bodyid[g]]
        if int(m.geom_type[g]) == PLANE and body.link < 0:
            place = body.pos + rotation(body.quat) @ m.geom_pos[g]
            normal = rotation(quat_mul(body.quat, m.geom_quat[g]))[:, 2]
            if normal[2] > 1 - 1e-9:
                normal = np.array([0.0, 0.0, 1.0])
            planes[g] = np.array([*normal, normal @ place])
    return planes


def _non_finite(model: RigidModel) -> list[str]:
    """Names of the fields, and of bodies and shapes, that hold something infinite or not a number."""
    return [
        *_non_finite_fields(model),
        *(f"muscles: {field}" for field in model.muscles.non_finite()),
        *(f"tendons: {field}" for field in model.tendons.non_finite()),
        *(f"fluid: {field}" for field in model.fluid.non_finite()),
        *(f"loops: {field}" for field in model.loops.non_finite()),
        *(f"pairs.{field}" for field in _non_finite_fields(model.pairs)),
        *(f'body "{body.name}": {field}' for body in model.bodies for field in _non_finite_fields(body)),
        *(f'geom "{geom.name}": {field}' for geom in model.geoms for field in _non_finite_fields(geom)),
    ]


def _non_finite_fields(item: RigidModel | Body | Geom | ContactPairs) -> list[str]:
    arrays = ((f.name, getattr(item, f.name)) for f in fields(item))
    return [key for key, value in arrays if isinstance(value, np.ndarray) and not np.all(np.isfinite(value))]
