"""Equalities that close loops (``connect``, ``weld``) -> ``Loops``; welds to mocap bodies hold to a fixed place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from diffsim_core.io._flags import active_equalities
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import body_name, object_name
from diffsim_core.io._trees import roots
from diffsim_core.io.params import LoopParams
from diffsim_core.rigid import twin
from diffsim_core.rigid._elimination import own_dofs
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid._twin_loops import LoopRows, loop_rows
from diffsim_core.rigid.coupled import uncoupled
from diffsim_core.rigid.loops import Loops
from diffsim_core.rigid.model import Body, FloatArray, RigidModel

CONNECT, WELD = int(mujoco.mjtEq.mjEQ_CONNECT), int(mujoco.mjtEq.mjEQ_WELD)
CLOSING = (CONNECT, WELD)
"""Types of equality that close loops."""
_SITE = int(mujoco.mjtObj.mjOBJ_SITE)

SAG = 5e-5
"""Gap that a closure has under its robot's weight: this part of the robot's size, and no more metres than this."""
TWIST = 5e-4
"""Angle [rad] by which a weld gives way to the robot's weight at a lever of its size."""
RELAXATION = 0.004
"""Seconds in which a gap closes, where its damping is not given."""
_SWIFTNESS = (2e2, 5e4)
"""Least and greatest angular frequency [rad/s] of a closure and the mass that it moves; float32 bears no more."""
_ENDLESS = 1e9
"""What is no bound."""
_OPEN = 0.01
"""Gap [m] or [rad] of the initial pose that is worth a note."""


def equality_name(m: Any, e: int) -> str:
    """The equality's name in the file, or ``equalityN``."""
    return object_name(m, "equality", e) or f"equality{e}"


def closures(m: Any, bodies: list[Body]) -> list[int]:
    """Equalities that hold two places of different links, at least one of which moves, at each other."""
    closing = [e for e in active_equalities(m) if int(m.eq_type[e]) in CLOSING]
    return [e for e in closing if len({bodies[b].link for b in bodies_of(m, e)}) == 2]


def bodies_of(m: Any, e: int) -> tuple[int, int]:
    """Both bodies of a connect or weld."""
    ends = int(m.eq_obj1id[e]), int(m.eq_obj2id[e])
    if int(m.eq_objtype[e]) == _SITE:
        return int(m.site_bodyid[ends[0]]), int(m.site_bodyid[ends[1]])
    return ends


def mocap_notes(m: Any) -> list[str]:
    """A sentence for each mocap body, and for each equality that holds to one."""
    found = [
        f'mocap body "{body_name(m, b)}" stays where the file puts it'
        for b in np.flatnonzero(m.body_mocapid >= 0).tolist()
    ]
    for e in active_equalities(m):
        held = [b for b in bodies_of(m, e) if m.body_mocapid[b] >= 0] if int(m.eq_type[e]) in CLOSING else []
        name = equality_name(m, e)
        found += [
            f'equality "{name}" holds to the place of mocap body "{body_name(m, b)}"; the parameter loop_place:{name}'
            " moves it"
            for b in held
        ]
    return found


def with_loops(model: RigidModel, m: Any, bodies: list[Body], params: LoopParams) -> RigidModel:
    """``model`` with the closures of the file, stiff enough for what they carry."""
    chosen = closures(m, bodies)
    if not chosen:
        return model
    ends = [_ends(m, bodies, e) for e in chosen]
    zero, one = np.zeros(len(chosen)), np.ones(len(chosen))
    loops = Loops(
        name=tuple(equality_name(m, e) for e in chosen),
        link=np.array([[link for link, _, _ in pair] for pair in ends], dtype=np.int64),
        pos=np.array([[pos for _, pos, _ in pair] for pair in ends]),
        quat=np.array([[quat / np.linalg.norm(quat) for _, _, quat in pair] for pair in ends]),
        stiffness=one,
        damping=zero,
        torsion=np.array([_hardness(m, e) for e in chosen]),
        torsion_damping=zero,
    )
    model = replace(model, loops=loops)
    gains = np.array([_gains(model, m, i, e, params) for i, e in enumerate(chosen)])
    columns = dict(zip(("stiffness", "damping", "torsion", "torsion_damping"), gains.T.copy(), strict=True))
    return replace(model, loops=replace(loops, **columns), notes=(*model.notes, *_open_notes(model)))


def _ends(m: Any, bodies: list[Body], e: int) -> list[tuple[int, FloatArray, FloatArray]]:
    """Link, point and attitude in its frame, of both places that an equality holds together."""
    data, upright = m.eq_data[e], np.array([1.0, 0, 0, 0])
    if int(m.eq_objtype[e]) == _SITE:
        sites = int(m.eq_obj1id[e]), int(m.eq_obj2id[e])
        places = [(m.site_pos[s], m.site_quat[s]) for s in sites]
    elif int(m.eq_type[e]) == WELD:
        places = [(data[3:6], data[6:10]), (data[0:3], upright)]
    else:
        places = [(data[0:3], upright), (data[3:6], upright)]
    found = []
    for b, (pos, quat) in zip(bodies_of(m, e), places, strict=True):
        body = bodies[b]
        found.append((body.link, body.pos + rotation(body.quat) @ pos, quat_mul(body.quat, quat)))
    return found


def _hardness(m: Any, e: int) -> float:
    """How hard the attitude is held, as a part of the default. MuJoCo's softness goes with 1 / torquescale squared."""
    return float(m.eq_data[e, 10]) ** 2 if int(m.eq_type[e]) == WELD else 0.0


def _gains(model: RigidModel, m: Any, i: int, e: int, params: LoopParams) -> tuple[float, float, float, float]:
    """Stiffness, damping, torsion and its damping of closure ``i``, equality ``e`` of the file."""
    kin, model = twin.kinematics(model, model.q_ref), uncoupled(model)
    rows = _rows_of(model, i, loop_rows(model, *kin))
    mobility = rows.jacobian @ np.linalg.solve(twin.mass_matrix(model, kin), rows.jacobian.T)
    masses = [3 / max(float(np.trace(mobility[k : k + 3, k : k + 3])), 1e-12) for k in range(0, len(mobility), 3)]
    load, size = _load(model, kin, i, rows.jacobian[:3])
    carried = (load / (SAG * min(size, 1.0)), load * size / TWIST)
    given = ((params.stiffness, params.damping), (params.torsion, params.torsion_damping))
    hardness = (1.0, float(model.loops.torsion[i]))
    gains: list[float] = []
    for mass, least, (stiffness, damping), hard in zip(masses, carried, given, hardness, strict=False):
        if params.solref:
            k, c = _solref(m, e, mass * hard)
        else:
            low, high = (w * w * mass for w in _SWIFTNESS)
            k = min(max(least, low), high) * hard if stiffness is None else stiffness
            c = RELAXATION * k if damping is None else damping
        gains += [k, c]
    stiffness, damping, torsion, torsion_damping = (*gains, 0.0, 0.0)[:4]
    return stiffness, damping, torsion, torsion_damping


def _rows_of(model: RigidModel, i: int, rows: LoopRows) -> LoopRows:
    counts = np.where(model.loops.welded, 6, 3)
    own = slice(int(counts[:i].sum()), int(counts[: i + 1].sum()))
    return LoopRows(*(part[own] for part in rows))


def _load(model: RigidModel, kin: twin.Kinematics, i: int, jacobian: FloatArray) -> tuple[float, float]:
    """Force [N] that a closure may have to carry, and the size of what hangs on it [m].

    The force is the weight of the trees that it holds, or more if a motor of its own branches can push harder.
    """
    root = roots(model.link_parent)
    held = [j for j in range(model.nl) if root[j] in {root[link] for link in model.loops.link[i] if link >= 0}]
    end = int(np.argmax(model.loops.link[i] >= 0))
    link = int(model.loops.link[i, end])
    anchor = kin.position[link] + kin.rotation[link] @ model.loops.pos[i, end]
    centres = kin.position[held] + np.einsum("lij,lj->li", kin.rotation[held], model.link_com[held])
    size = max(float(np.linalg.norm(np.concatenate([kin.position[held], centres]) - anchor, axis=1).max()), 1e-3)
    load = 9.81 * float(model.link_mass[held].sum())
    a, b = own_dofs(model, *(int(link) for link in model.loops.link[i]))
    for d in (*a, *b):
        load = max(load, _strength(model, d) / max(float(np.linalg.norm(jacobian[:, d])), 0.1 * size))
    return load, size


def _strength(model: RigidModel, d: int) -> float:
    """Greatest force [N] or [N m] of motors (without a range: at control 1) and bounded servos on one."""
    on = model.actuator_dof == d
    controls = np.abs(model.actuator_range[on]).max(axis=1, initial=0.0)
    motors = np.abs(model.actuator_gear[on]) * np.where(controls < _ENDLESS, controls, 1.0)
    bounds = np.abs(model.servo_range[model.servo_dof == d]).max(axis=1, initial=0.0)
    return float(motors.sum() + bounds[bounds < _ENDLESS].sum())


def _solref(m: Any, e: int, mass: float) -> tuple[float, float]:
    """Stiffness and damping on a mass that have the time constant and damping ratio of the file's ``solref``."""
    first, second = (float(x) for x in m.eq_solref[e])
    if first <= 0:
        return -first * mass, -second * mass
    return mass / (first * max(second, 1e-3)) ** 2, 2 * mass / first


def _open_notes(model: RigidModel) -> list[str]:
    """A sentence for each closure that is open in the initial pose."""
    all_rows = loop_rows(model, *twin.kinematics(model, model.q_ref))
    found = []
    for i, name in enumerate(model.loops.name):
        gap = _rows_of(model, i, all_rows).gap
        for part, unit in ((gap[:3], "m"), (gap[3:], "rad")):
            if np.linalg.norm(part) > _OPEN:
                found.append(
                    f'equality "{name}" is open by {np.linalg.norm(part):.2g} {unit} in the initial pose and will'
                    " snap shut: start from a pose that closes it"
                )
    return found
