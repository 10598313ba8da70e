"""Models with coupled joints: made of ordinary ones, and seen as ordinary ones, with a coordinate for every joint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diffsim_core._nearest import unknown
from diffsim_core.rigid.couplings import DEGREE, Coupling, Couplings
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import FloatArray, IntArray, RigidModel


class FullState(NamedTuple):
    """Every joint's numbers, followers' too, in the order of the links: MuJoCo's ``qpos`` and ``qvel``."""

    q: FloatArray
    """Coordinates ``[..., nq + n]``."""
    qd: FloatArray
    """Velocities ``[..., nv + n]``."""


class Reduction(NamedTuple):
    """How a state's followers move: ``qd_full = G qd`` and ``qdd_full = G qdd + drift``."""

    G: FloatArray
    """``[nv + n, nv]``."""
    drift: FloatArray
    """``[nv + n]`` acceleration that a curved law asks for at constant speed of its leader."""


class Order(NamedTuple):
    """Where in a model's arrays, whose followers come last, a joint's numbers are, in the order of the links."""

    q: IntArray
    """``[nq + n]``"""
    dof: IntArray
    """``[nv + n]``"""


def couple(model: RigidModel, laws: Iterable[Coupling]) -> RigidModel:
    """The model in which some joints follow others exactly, with a coordinate and a degree of freedom less for each.

    Whatever acts on a follower (damping, spring, limits, armature, actuators, contact) acts through the law.

    Args:
        model: one without couplings.
        laws: one for each follower, in any order.

    Raises:
        ValueError: for an unknown joint or one with several coordinates, two laws of one follower, laws in a circle,
            coefficients that are not finite or more than five, or a model that has couplings already.
    """
    if len(model.couplings):
        raise ValueError(f"model {model.name!r} has couplings already; give all of them at once")
    given: dict[int, tuple[int, FloatArray]] = {}
    for law in laws:
        follower = _scalar_joint(model, law.follower)
        leader = -1 if law.leader is None else _scalar_joint(model, law.leader)
        if follower in given:
            raise ValueError(f"joint {law.follower!r} has two laws; give one")
        given[follower] = leader, _padded(law)
    links = _leaders_first(model, {follower: leader for follower, (leader, _) in given.items()})
    if not links:
        return model
    q, dof = _own_first(model.joint_q, links, model.nq), _own_first(model.joint_dof, links, model.nv)
    new_q, new_dof = np.argsort(q), np.argsort(dof)
    return replace(
        model,
        joint_q=new_q[model.joint_q],
        joint_dof=new_dof[model.joint_dof],
        q_ref=model.q_ref[q][: model.nq - len(links)],
        couplings=Couplings(
            link=np.array(links, dtype=np.int64),
            leader=np.array([given[i][0] for i in links], dtype=np.int64),
            coefficients=np.array([given[i][1] for i in links]),
            q_ref=model.q_ref[model.joint_q[links]],
        ),
        **_renumbered(model, q, dof),
    )


def uncoupled(model: RigidModel) -> RigidModel:
    """The same links with a coordinate for every joint, in the order of the links, and no couplings."""
    if not len(model.couplings):
        return model
    q, dof = order(model)
    new_q, new_dof = np.argsort(q), np.argsort(dof)
    return replace(
        model,
        joint_q=new_q[model.joint_q],
        joint_dof=new_dof[model.joint_dof],
        q_ref=np.concatenate([model.q_ref, model.couplings.q_ref])[q],
        couplings=Couplings.none(),
        **_renumbered(model, q, dof),
    )


def full_state(model: RigidModel, q: FloatArray, qd: FloatArray | None = None) -> FullState:
    """Coordinates and velocities of every joint, as MuJoCo has them.

    Args:
        model: with couplings or without.
        q: Coordinates ``[..., nq]``.
        qd: Velocities ``[..., nv]``; zero by default.
    """
    q = np.asarray(q, dtype=np.float64)
    qd = np.zeros((*q.shape[:-1], model.nv)) if qd is None else np.asarray(qd, dtype=np.float64)
    c = model.couplings
    for k in range(len(c)):
        (value, slope, _), at = _law_at(model, k, q), model.joint_dof[c.leader[k]]
        rate = slope * qd[..., at] if c.leader[k] >= 0 else np.zeros(q.shape[:-1])
        q = np.concatenate([q, (c.q_ref[k] + value)[..., None]], axis=-1)
        qd = np.concatenate([qd, rate[..., None]], axis=-1)
    places = order(model)
    return FullState(q[..., places.q], qd[..., places.dof])


def own_state(model: RigidModel, qpos: FloatArray, qvel: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """``q [..., nq]`` and ``qd [..., nv]`` of MuJoCo's numbers for every joint; followers' are left out.

    Args:
        model: with couplings or without.
        qpos: Coordinates ``[..., nq + n]``, for instance of a keyframe.
        qvel: Velocities ``[..., nv + n]``; zero by default.
    """
    qpos, places = np.asarray(qpos, dtype=np.float64), order(model)
    qvel = np.zeros((*qpos.shape[:-1], len(places.dof))) if qvel is None else np.asarray(qvel, dtype=np.float64)
    return qpos[..., np.argsort(places.q)[: model.nq]], qvel[..., np.argsort(places.dof)[: model.nv]]


def reduction(model: RigidModel, q: FloatArray, qd: FloatArray) -> Reduction:
    """The rates of all joints by the model's own, at one state ``q [nq]``, ``qd [nv]``."""
    G, drift, rates = np.eye(model.nv), np.zeros(model.nv), np.array(qd, dtype=np.float64)
    for k, leader in enumerate(model.couplings.leader):
        (value, slope, bend), at = _law_at(model, k, q), model.joint_dof[leader]
        q = np.append(q, model.couplings.q_ref[k] + value)
        row, rest = (slope * G[at], slope * drift[at] + bend * rates[at] ** 2) if leader >= 0 else (0 * G[0], 0.0)
        G, drift = np.vstack([G, row]), np.append(drift, rest)
        rates = np.append(rates, slope * rates[at] if leader >= 0 else 0.0)
    dof = order(model).dof
    return Reduction(G[dof], drift[dof])


def order(model: RigidModel) -> Order:
    """Places of the joints' numbers in the order of the links."""
    types = [JOINTS.at(int(kind)) for kind in model.joint_type]
    q = [int(at) + j for at, joint in zip(model.joint_q, types, strict=True) for j in range(joint.nq)]
    dof = [int(at) + j for at, joint in zip(model.joint_dof, types, strict=True) for j in range(joint.nv)]
    return Order(np.array(q, dtype=np.int64), np.array(dof, dtype=np.int64))


def _law_at(model: RigidModel, k: int, q: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Law k and its derivatives where the coordinates ``[..., nq + k]`` of what comes before it are."""
    leader = int(model.couplings.leader[k])
    if leader < 0:
        return model.couplings.law(k, np.zeros(q.shape[:-1]))
    at = int(model.joint_q[leader])
    return model.couplings.law(k, q[..., at] - np.concatenate([model.q_ref, model.couplings.q_ref])[at])


def _renumbered(model: RigidModel, q: IntArray, dof: IntArray) -> dict[str, IntArray | FloatArray]:
    """The fields that have an entry for each coordinate or degree of freedom, or name one: in a new order."""
    new_dof = np.argsort(dof)
    return {
        "q_spring": model.q_spring[q],
        "dof_damping": model.dof_damping[dof],
        "dof_armature": model.dof_armature[dof],
        "dof_friction": model.dof_friction[dof],
        "actuator_dof": new_dof[model.actuator_dof],
        "servo_dof": new_dof[model.servo_dof],
    }


def _own_first(starts: IntArray, links: Sequence[int], count: int) -> IntArray:
    """Numbers of ``count`` places, those of the followers' joints last."""
    last = starts[list(links)]
    return np.concatenate([np.setdiff1d(np.arange(count), last), last]).astype(np.int64)


def _scalar_joint(model: RigidModel, name: str) -> int:
    if name not in model.joint_name:
        raise ValueError(unknown("joint", name, model.joint_name))
    i = model.joint_name.index(name)
    joint = JOINTS.at(int(model.joint_type[i]))
    if not joint.scalar:
        raise ValueError(f"joint {name!r} of type {joint.name!r} has several coordinates; couple slides and hinges")
    return i


def _padded(law: Coupling) -> FloatArray:
    c = np.asarray(law.coefficients, dtype=np.float64)
    if c.ndim != 1 or not 1 <= len(c) <= DEGREE + 1 or not np.isfinite(c).all():
        raise ValueError(f"coefficients of joint {law.follower!r} are {c}: give one to {DEGREE + 1} finite numbers")
    if law.leader is None and c[1:].any():
        raise ValueError(f"joint {law.follower!r} has no leader, so its coefficients {c} may be one number alone")
    return np.pad(c, (0, DEGREE + 1 - len(c)))


def _leaders_first(model: RigidModel, leaders: dict[int, int]) -> list[int]:
    """The followers in an order in which each comes after its leader."""
    done: list[int] = []
    left = sorted(leaders)
    while left:
        ready = [i for i in left if leaders[i] not in left]
        if not ready:
            names = ", ".join(repr(model.joint_name[i]) for i in left)
            raise ValueError(f"joints {names} follow each other in a circle; leave out one of their laws")
        done += ready
        left = [i for i in left if i not in ready]
    return done
