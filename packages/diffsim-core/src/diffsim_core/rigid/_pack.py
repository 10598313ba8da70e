"""A ``RigidModel`` as the two flat arrays that the kernels read (columns: ``_source/model.h``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diffsim_core.rigid._elimination import sparse_rows
from diffsim_core.rigid._pack_contact import pack_contacts, plain_points, point_rows, touch_rows
from diffsim_core.rigid._pack_coupled import own_rows, pack_coupled
from diffsim_core.rigid._pack_loops import loop_places, pack_loops
from diffsim_core.rigid._pack_muscles import pack_muscles
from diffsim_core.rigid._pack_passive import pack_passive
from diffsim_core.rigid._pack_servos import pack_totals
from diffsim_core.rigid._pack_spins import pack_spins
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contact_laws import compiled_laws
from diffsim_core.rigid.coupled import uncoupled
from diffsim_core.rigid.joints import JOINTS, MOST_COORDINATES, Joint, compiled_joints
from diffsim_core.rigid.limits import free_damping, has_limit_damper, limit_onset
from diffsim_core.rigid.model import UNBOUNDED, FloatArray, RigidModel
from diffsim_core.rigid.turns import bent_links

_HEADER = 32
_PARAMETERS, _ENTRIES, _REALS, _ENTRIES_AT, _COEFFICIENTS_AT, _PARTS_AT = range(8, 14)

_PARTS: tuple[Callable[[RigidModel], tuple[Any, Any]], ...] = (
    pack_muscles,
    pack_passive,
    pack_loops,
    pack_totals,
    pack_spins,
)
"""What has tables of its own, integers and reals, in the order of ``H_MUSCLES_AT`` and what follows in ``model.h``.

Each has two places in the header: where its integers begin, and its reals among those that are no inputs. They see a
model with a coordinate for every joint; couplings are a part of their own, the first."""


@dataclass(frozen=True)
class PackedModel:
    """Flat arrays, and the sizes that kernels are compiled for."""

    integers: np.ndarray[Any, np.dtype[np.int32]]
    reals: np.ndarray[Any, np.dtype[np.float64]]
    num_reals: int
    """Those that may be inputs; what follows belongs to contact, and to the inputs themselves."""
    num_entries: int
    """Stored entries of the mass matrix, see ``_elimination.py``."""
    most_entries: int
    """Those, or those of the mass matrix of all joints, coupled ones too, if they are more."""
    row: np.ndarray[Any, np.dtype[np.int32]]
    ancestor: np.ndarray[Any, np.dtype[np.int32]]


def pack(model: RigidModel, backward_smoothing: float | None = None) -> PackedModel:
    """Flatten ``model``; the row of a degree of freedom lists what it may be coupled with, itself last.

    ``backward_smoothing`` is that of contact in the backward pass, by default the model's own.
    """
    laws = [law.name for law in compiled_laws(model.contact_law)]
    own, coupled, model = own_rows(model), pack_coupled(model), uncoupled(model)
    sparse = sparse_rows(model)
    parts = [coupled, *(pack_part(model) for pack_part in _PARTS)]
    plain = plain_points(model)
    more = pack_contacts(model, model.contact_smoothing if backward_smoothing is None else backward_smoothing)
    header = [
        model.nl,
        model.nq,
        model.nv,
        model.nu,
        len(plain),
        len(sparse.ancestor),
        laws.index(model.contact_law),
        model.ns,
    ]
    integers = np.concatenate(
        [
            np.asarray(header + [0] * (_HEADER - len(header))),
            _link_integers(model).ravel(),
            sparse.depth,
            sparse.row,
            sparse.ancestor,
            model.actuator_dof,
            _servo_integers(model).ravel(),
            model.contact_link[plain],
            more[0],
            *(part[0] for part in parts),
        ]
    ).astype(np.int32)
    reals = np.concatenate(
        [
            model.gravity,
            [model.ground_height, model.friction_width],
            _link_reals(model).ravel(),
            model.dof_armature,
            free_damping(model),
            model.dof_friction,
            model.actuator_gear,
            _servo_reals(model).ravel(),
            loop_places(model).ravel(),
            point_rows(model, plain).ravel(),
            touch_rows(model).ravel(),
            more[1],
            *(part[1] for part in parts),
        ]
    ).astype(np.float64)
    at, reals_at = len(integers), len(reals)
    for n, part in reversed([*enumerate(parts)]):
        at, reals_at = at - len(part[0]), reals_at - len(part[1])
        integers[_PARTS_AT + 2 * n : _PARTS_AT + 2 * n + 2] = at, reals_at
    integers[_REALS] = count = reals_at - len(more[1])
    integers[_PARTS_AT + 1 : _PARTS_AT + 2 * len(parts) : 2] -= count
    row, ancestor = own.row.astype(np.int32), own.ancestor.astype(np.int32)
    most = max(len(ancestor), len(sparse.ancestor))
    return PackedModel(integers, reals, count, len(ancestor), most, row, ancestor)


def with_inputs(packed: PackedModel, constant: FloatArray, slopes: FloatArray) -> PackedModel:
    """``packed`` with reals that are inputs: ``constant + slopes [:, np] @ parameters [np]``."""
    slots, columns = np.nonzero(slopes)
    if len(slots) and slots.max() >= packed.num_reals:
        raise ValueError("a parameter reaches the shapes of contact, which no input does")
    integers = np.concatenate([packed.integers, np.stack([slots, columns], axis=1).ravel()]).astype(np.int32)
    integers[_PARAMETERS] = slopes.shape[1]
    integers[_ENTRIES] = len(slots)
    integers[_ENTRIES_AT] = len(packed.integers)
    integers[_COEFFICIENTS_AT] = len(constant)
    return replace(packed, integers=integers, reals=np.concatenate([constant, slopes[slots, columns]]))


def _joints(model: RigidModel) -> list[Joint]:
    return [JOINTS.at(int(kind)) for kind in model.joint_type]


def _link_integers(model: RigidModel) -> Any:
    slides_only: list[bool] = []
    numbers = {joint: number for number, joint in enumerate(compiled_joints(model))}
    table = np.zeros((model.nl, 13), dtype=np.int64)
    bent = bent_links(model)
    for i, joint in enumerate(_joints(model)):
        parent = int(model.link_parent[i])
        slides_only.append(joint.translates and (parent < 0 or slides_only[parent]))
        rotated = not joint.world and not np.allclose(np.abs(model.link_quat[i]), [1, 0, 0, 0], atol=1e-15)
        table[i] = (
            parent,
            numbers[joint],
            model.joint_q[i],
            model.joint_dof[i],
            slides_only[i],
            rotated,
            model.link_mass[i] > 0,
            model.joint_stiffness[i] != 0,
            joint.world,
            model.joint_dof[i] + joint.world,
            joint.nv - joint.world,
            has_limit_damper(model, i),
            bent[i],
        )
    return table


def _link_reals(model: RigidModel) -> Any:
    own = model.joint_parameters.shape[1]
    table = np.zeros((model.nl, 39 + own))
    for i, joint in enumerate(_joints(model)):
        a = int(model.joint_q[i])
        inertia = model.link_inertia[i]
        limited = bool(model.joint_limited[i])
        table[i, 0:3] = model.link_pos[i]
        table[i, 3:12] = rotation(model.link_quat[i] / np.linalg.norm(model.link_quat[i])).T.ravel()
        table[i, 12:15] = model.joint_axis[i]
        table[i, 15] = model.link_mass[i]
        table[i, 16:19] = model.link_com[i]
        table[i, 19:25] = inertia[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        table[i, 25] = model.joint_stiffness[i]
        table[i, 26] = model.joint_range[i, 0] if limited else -UNBOUNDED
        table[i, 27] = model.joint_range[i, 1] if limited else UNBOUNDED
        table[i, 28] = model.limit_stiffness[i]
        if not joint.world:
            for column, coordinates in ((29, model.q_ref), (29 + MOST_COORDINATES, model.q_spring)):
                table[i, column : column + joint.nq] = coordinates[a : a + joint.nq]
        if has_limit_damper(model, i):
            table[i, 37:39] = model.limit_damping[i], limit_onset(model.joint_range[i])
        table[i, 39:] = model.joint_parameters[i]
    return table


def _servo_integers(model: RigidModel) -> Any:
    """Control, coordinate and degree of freedom; on a ball or free joint the coordinate's slope is 0."""
    first_q = {
        int(d) + k: int(q) + min(k, joint.nq - 1)
        for d, q, joint in zip(model.joint_dof, model.joint_q, _joints(model), strict=True)
        for k in range(joint.nv)
    }
    coordinates = np.array([first_q[int(d)] for d in model.servo_dof], dtype=np.int64)
    return np.column_stack([model.servo_actuator, coordinates, model.servo_dof])


def _servo_reals(model: RigidModel) -> Any:
    return np.column_stack([model.servo_gain, model.servo_bias.reshape(-1, 3), model.servo_range.reshape(-1, 2)])
