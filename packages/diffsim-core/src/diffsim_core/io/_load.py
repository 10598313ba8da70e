"""``load_model``: MJCF or URDF -> ``RigidModel``, or one error that names everything unsupported."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core.io._collision import PLANE, find_ground
from diffsim_core.io._compile import compile_model, source_label
from diffsim_core.io._convert import links_and_bodies, quat_mul, rotation, to_rigid_model
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._unsupported import find_unsupported, singular_joints
from diffsim_core.io.errors import ModelError
from diffsim_core.io.params import CONTACT_LAWS, LIMIT_LAWS, ContactParams, LimitParams, fill
from diffsim_core.rigid.model import RigidModel


def load_model(
    source: str | Path,
    *,
    contact: ContactParams | None = None,
    limits: LimitParams | None = None,
    contact_law: str | None = None,
    limit_law: str | None = None,
    ground: float | None = None,
    floating: bool = False,
    name: str | None = None,
) -> RigidModel:
    """Load a robot from an MJCF or URDF file through MuJoCo's compiler.

    Each joint becomes a link; bodies without joints are welded into the link that carries them. Contact is
    between the ground (a horizontal ``plane`` geom of the world) and the spheres, capsules and boxes whose
    ``contype``/``conaffinity`` let them touch it. Sensors, cameras, lights, keyframes and visuals are ignored.

    Penalty parameters come from the keyword arguments, else from the file, else from the defaults documented in
    ``ContactParams`` and ``LimitParams``. In the file they are::

        <custom>
          <numeric name="diffsim_contact" data="kn kd kt mu"/>   <!-- mu may be left out -->
          <numeric name="diffsim_limit" data="stiffness damping"/>
          <text name="diffsim_contact_law" data="released"/>     <!-- or "paper", the default -->
          <text name="diffsim_limit_law" data="released"/>
        </custom>

    Args:
        source: path of an ``.xml``, ``.mjcf`` or ``.urdf`` file, or the XML itself.
        contact: contact parameters of all contact points.
        limits: parameters of all joint limits.
        contact_law: ``"paper"`` or ``"released"``, see ``RigidModel.contact_law``.
        limit_law: ``"paper"`` or ``"released"``, see ``RigidModel.limit_law``.
        ground: height z [m] of a ground plane that replaces the file's; every shape with a collision mask touches it.
        floating: put a free joint on root bodies that the file fixes to the world (URDF has no other way to say so).
        name: name of the model; default the file's.

    Raises:
        ModelError: the file cannot be read or compiled, or holds something that is not simulated; the
            message lists every such element by kind and name with a remedy.
    """
    label = source_label(source)
    if ground is not None and not np.isfinite(ground):
        raise ValueError(f"ground is {ground}: give a finite height in metres")
    m, problems = compile_model(source, floating=floating)
    file_contact, file_limits, file_contact_law, file_limit_law = _custom(m, problems)
    laws = (contact_law or file_contact_law or "paper", limit_law or file_limit_law or "paper")
    for law, known, key in ((laws[0], CONTACT_LAWS, "contact_law"), (laws[1], LIMIT_LAWS, "limit_law")):
        if law not in known:
            problems.append(f'{key} "{law}" is unknown: use {" or ".join(known)}')
    _, bodies = links_and_bodies(m)
    found, contact_problems, notes = find_ground(m, bodies, _planes(m, bodies), ground)
    problems += find_unsupported(m) + contact_problems
    problems += singular_joints(m) if not problems else []
    if problems:
        raise ModelError(label, problems)
    model = to_rigid_model(
        m,
        name=name or _model_name(m),
        ground=found,
        contact=fill(contact, file_contact),
        limits=fill(limits, file_limits),
        contact_law=laws[0],
        limit_law=laws[1],
        notes=tuple(notes),
    )
    if bad := _non_finite(model):
        raise ModelError(label, [f"{field} has values that are not finite: correct the file" for field in bad])
    return model


def _model_name(m: Any) -> str:
    return bytes(m.names).split(b"\0", 1)[0].decode("utf-8", "replace")


def _planes(m: Any, bodies: list[Any]) -> dict[int, tuple[float, float]]:
    """Height and cosine of the tilt of every static plane."""
    planes = {}
    for g in range(m.ngeom):
        body = bodies[m.geom_bodyid[g]]
        if int(m.geom_type[g]) == PLANE and body.link < 0:
            turn = rotation(body.quat)
            z = float((body.pos + turn @ m.geom_pos[g])[2])
            planes[g] = z, float(rotation(quat_mul(body.quat, m.geom_quat[g]))[2, 2])
    return planes


def _custom(m: Any, problems: list[str]) -> tuple[ContactParams, LimitParams, str | None, str | None]:
    """The penalty parameters that the file itself carries."""
    contact = _numbers(m, "diffsim_contact", ("kn", "kd", "kt", "mu"), 3, problems)
    limits = _numbers(m, "diffsim_limit", ("stiffness", "damping"), 1, problems)
    laws = [_text(m, f"diffsim_{kind}_law") for kind in ("contact", "limit")]
    return ContactParams(**contact), LimitParams(**limits), laws[0], laws[1]


def _numbers(m: Any, name: str, keys: tuple[str, ...], least: int, problems: list[str]) -> dict[str, float]:
    i = mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_NUMERIC, name)
    if i < 0:
        return {}
    data = m.numeric_data[m.numeric_adr[i] : m.numeric_adr[i] + m.numeric_size[i]]
    if not least <= len(data) <= len(keys) or not np.all(np.isfinite(data)) or np.any(data < 0):
        given = " ".join(f"{x:g}" for x in data[:8])
        problems.append(f'numeric "{name}" is "{given}": give {" ".join(keys)}, finite and at least 0')
        return {}
    return dict(zip(keys, (float(x) for x in data), strict=False))


def _text(m: Any, name: str) -> str | None:
    i = mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_TEXT, name)
    if i < 0:
        return None
    start = m.text_adr[i]
    return bytes(m.text_data[start : start + m.text_size[i]]).rstrip(b"\0").decode("utf-8", "replace")


def _non_finite(model: RigidModel) -> list[str]:
    arrays = ((f.name, getattr(model, f.name)) for f in fields(model))
    return [key for key, value in arrays if isinstance(value, np.ndarray) and not np.all(np.isfinite(value))]
