"""What ``diffrl bench models`` measures on one model that loads: each function returns numbers ready for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffsim_core._buffer import Buffer
from diffsim_core.rigid import RigidDynamics, RigidModel, full_state
from diffsim_core.rigid._kernels import SizeClass
from diffsim_core.rigid.coupled import reduction
from diffsim_core.rigid.tendons import PassiveConstants

from ._model_states import Pose, States, mujoco, random_controls, reduced, sizes

DT = 1.0 / 60.0
"""Control step [s]."""
STATES = 5
"""Random states that are compared."""
STEPS = 100
"""Random control steps."""
SECOND = 60
"""Control steps of a second."""
_STILL = 0.1
"""And if nothing in it is faster than this [m/s] or [rad/s]."""
_BAD = tuple(getattr(mujoco.mjtWarning, f"mjWARN_BAD{name}") for name in ("QPOS", "QVEL", "QACC"))
_GAINS = ("kn", "kd", "kt")
_NEXT_TO_NOTHING = 1e-30
_ROOM = 64
"""Links, degrees of freedom and controls that a module has room for, or multiples of it."""
_DIRECTIONS = 4
_WIDTHS = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 3e-8)
"""Half-widths of central differences; the one that agrees best with its double counts."""
_SWITCHING = 1e-6
"""Relative disagreement of differences of two widths above which they cannot judge: a switch (touch-down, a limit) lies
between, or the step's own rounding is as large. It is the error that is allowed, so that no looser judge is asked."""
_REST = 0.005
"""A model is at rest in MuJoCo if its centre of mass moves by less than this in height in the last tenth [m]."""


class _Roomy(RigidDynamics):
    """Compiled with room for models of all usual sizes, so that few modules serve a whole corpus."""

    def _size(self, on_cuda: bool) -> SizeClass:
        size = super()._size(on_cuda)
        dofs = _up(size.dofs)
        entries = min(dofs * (dofs + 1) // 2, max(size.entries, _ROOM * (_ROOM + 1) // 2))
        return dataclasses.replace(size, links=_up(size.links), dofs=dofs, entries=entries, controls=_up(size.controls))


def _up(number: int) -> int:
    return max(-(-number // _ROOM), 1) * _ROOM


def dynamics(model: RigidModel, substeps: int | str = "auto") -> RigidDynamics:
    """In float64 with one thread, and by default as many sub-steps as the simulator thinks right."""
    return _Roomy(model, dt=DT, substeps=substeps, dtype="float64", threads=1)


def beside_mujoco(model: RigidModel, m: Any, states: States) -> dict[str, Any]:
    """Largest relative errors of mass matrix, force and acceleration without contact, limits, friction and constraints.

    The force is that of actuators, springs, damping, gravity and motion: ``M qdd = f``. Joints that follow others are
    constraints in MuJoCo, and left out of its matrices by their rates (:func:`diffsim_core.rigid.coupled.reduction`).
    """
    own = reduced(model, states)
    free = dynamics(without_constraints(model, _held_tendons(m)), substeps=1)
    probe = free.probe(own.q, own.qd, own.u, act=own.act)
    errors = {"mass": 0.0, "force": 0.0, "acceleration": 0.0}
    flags = m.opt.disableflags
    m.opt.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    try:
        for k in range(len(own.q)):
            theirs = _forward(m, model, *(part[k] for part in own))
            ours = (probe.mass[k], probe.force[k], probe.qdd[k])
            for name, a, b in zip(errors, ours, theirs, strict=True):
                errors[name] = max(errors[name], relative(a, b))
    finally:
        m.opt.disableflags = flags
    return {**errors, "states": len(own.q)}


def relative(ours: Any, theirs: Any) -> float:
    """Largest difference over the largest number; infinity if one is not finite."""
    error = np.abs(ours - theirs).max(initial=0.0) / max(np.abs(theirs).max(initial=0.0), 1e-12)
    return float(error) if np.isfinite(error) else float("inf")


def without_constraints(model: RigidModel, held: Sequence[str] = ()) -> RigidModel:
    """The model without contact, limits, dry friction, loops and the tendons ``held``, which MuJoCo has as constraints.

    What chooses the compiled code stays, so that this model needs none of its own.
    """
    free = _weakened(model, ("limit_stiffness", "limit_damping", "dof_friction", *map("contact_{}".format, _GAINS)))
    loops = _weakened(model.loops, ("stiffness", "damping", "torsion", "torsion_damping"))
    weak = np.isin(PassiveConstants._fields, ("limit_stiffness", "limit_damping", "friction"))
    springs = np.isin(PassiveConstants._fields, ("stiffness", "damping"))
    weak = weak | (np.isin(model.tendons.name, list(held))[:, None] & springs)
    passive = model.tendons.passive * np.where(weak, _NEXT_TO_NOTHING, 1.0)
    return dataclasses.replace(
        free,
        pairs=_weakened(model.pairs, _GAINS),
        loops=loops,
        tendons=dataclasses.replace(model.tendons, passive=passive),
    )


def _held_tendons(m: Any) -> list[str]:
    """Names of tendons' equalities, or of their first tendons if they have none: those of our springs."""
    kind = int(mujoco.mjtEq.mjEQ_TENDON)
    found = [e for e in range(m.neq) if int(m.eq_type[e]) == kind]
    return [m.equality(e).name or m.tendon(int(m.eq_obj1id[e])).name for e in found]


def _weakened(part: Any, names: Sequence[str]) -> Any:
    return dataclasses.replace(part, **{name: _NEXT_TO_NOTHING * getattr(part, name) for name in names})


def _forward(m: Any, model: RigidModel, q: Any, qd: Any, act: Any, u: Any) -> tuple[Any, Any, Any]:
    """MuJoCo's mass matrix, force and acceleration of the model's own joints."""
    d = mujoco.MjData(m)
    d.qpos[:], d.qvel[:] = full_state(model, q, qd)
    d.act[:], d.ctrl[:] = act, u
    mujoco.mj_forward(m, d)
    mass = np.zeros((m.nv, m.nv))
    for column, unit in zip(mass, np.eye(m.nv), strict=True):
        mujoco.mj_mulM(m, d, column, unit)
    force = np.array(d.qfrc_passive) - np.array(d.qfrc_bias) + np.array(d.qfrc_actuator)
    if not len(model.couplings):
        return mass, force, np.array(d.qacc_smooth)
    rates, drift = reduction(model, q, qd)
    mass, force = rates.T @ mass @ rates, rates.T @ (force - mass @ drift)
    return mass, force, np.linalg.solve(mass, force)


def gradient(d: RigidDynamics, states: States) -> dict[str, Any]:
    """Error of the gradient of a control step against central differences along random directions.

    The error of a direction is relative to the size that independent terms would give. Left out are worlds that
    diverge, and directions in which the differences disagree with each other: ``clear`` of them count.
    """
    rng = np.random.default_rng(1)
    given = tuple(np.repeat(part, _DIRECTIONS, axis=0) for part in _used(d.model, reduced(d.model, states)))
    steps = tuple(rng.normal(size=part.shape) for part in given)
    weights = tuple(rng.normal(size=part.shape) for part in given[:-1])
    exact, ok = _vjp(d, given, weights)
    terms = [bar * step for bar, step in zip(exact, steps, strict=True)]
    along = np.sum([term.sum(axis=1) for term in terms], axis=0)
    scale = np.sqrt(np.sum([(term**2).sum(axis=1) for term in terms], axis=0)) + 1e-300

    def slope(h: float) -> Any:
        ends = []
        for sign in (1, -1):
            out = _step(d, tuple(part + sign * h * step for part, step in zip(given, steps, strict=True)))[0]
            ends.append(np.sum([(w * part).sum(axis=1) for w, part in zip(weights, out, strict=True)], axis=0))
        return (ends[0] - ends[1]) / (2 * h)

    slopes = [(slope(h), slope(2 * h)) for h in _WIDTHS]
    doubt = np.array([np.abs(a - b) for a, b in slopes]) / scale
    best = np.nanargmin(np.where(np.isfinite(doubt), doubt, np.inf), axis=0)
    pick = np.arange(len(along))
    differences = np.array([(4 * a - b) / 3 for a, b in slopes])[best, pick]
    clear = (doubt[best, pick] <= _SWITCHING) & ok
    errors = (np.abs(along - differences) / scale)[clear]
    finite = bool(np.isfinite(along[ok]).all())
    worst = float(errors.max()) if len(errors) else None
    return {"error": worst if finite else float("inf"), "clear": int(clear.sum()), "directions": len(along)}


def random_steps(d: RigidDynamics, m: Any, pose: Pose) -> dict[str, Any]:
    """Control steps with random controls from the pose: how many went well, and the fastest velocity in them.

    ``mujoco`` is whether MuJoCo takes the same controls without a warning, which some models' own ranges are too
    wide for.
    """
    rng = np.random.default_rng(2)
    controls = random_controls(m, STEPS, rng)
    state, fastest, finished = _at(d.model, pose), 0.0, 0
    for u in controls:
        state, ok = _step(d, (*state, u[None]))
        if not ok:
            break
        finished += 1
        fastest = max(fastest, float(np.abs(state[1]).max(initial=0.0)))
    theirs = _start(m, pose)
    for k, u in enumerate(controls):
        theirs.ctrl[:] = u
        _advance(m, theirs, (k + 1) * DT)
    warned = any(theirs.warning[int(kind)].number for kind in _BAD)
    return {"substeps": d.substeps, "finished": finished, "of": STEPS, "fastest": fastest, "mujoco": not warned}


def stand(d: RigidDynamics, m: Any, pose: Pose) -> dict[str, Any]:
    """A second with the pose's controls beside MuJoCo: heights of the centre of mass [m]."""
    theirs, heights = _start(m, pose), [_height(m, pose.q)]
    for until in (0.9 * SECOND * DT, SECOND * DT):
        _advance(m, theirs, until)
        heights.append(_height(m, theirs.qpos))
    state, ok, steps = _at(d.model, pose), True, 0
    while ok and steps < SECOND:
        state, ok = _step(d, (*state, pose.u[None]))
        steps += 1
    found: dict[str, Any] = {"keyframe": pose.name, "mujoco_drop_m": heights[0] - heights[2]}
    still = float(np.abs(theirs.qvel).max(initial=0.0)) < _STILL
    found["rests"] = still and abs(heights[2] - heights[1]) < _REST
    found["in_range"] = _in_range(m, pose.q)
    if not ok:
        return {**found, "finished": steps, "apart_m": None}
    return {**found, "finished": SECOND, "apart_m": _height(m, full_state(d.model, state[0][0]).q) - heights[2]}


def _start(m: Any, pose: Pose) -> Any:
    d = mujoco.MjData(m)
    d.qpos[:], d.ctrl[:] = pose.q, pose.u
    return d


def _advance(m: Any, d: Any, until: float) -> None:
    """Simulate with MuJoCo until a time [s]."""
    for _ in range(max(round((until - d.time) / m.opt.timestep), 0)):
        mujoco.mj_step(m, d)


def _in_range(m: Any, q: Any) -> bool:
    """Whether no joint is outside of its range, from where it would be thrown."""
    limited = np.array(m.jnt_limited, dtype=bool) & (np.array(m.jnt_type) >= int(mujoco.mjtJoint.mjJNT_SLIDE))
    at = q[np.array(m.jnt_qposadr)[limited]]
    low, high = np.array(m.jnt_range)[limited].T if limited.any() else (at, at)
    return bool(((at >= low - 1e-3) & (at <= high + 1e-3)).all())


def _height(m: Any, q: Any) -> float:
    d = mujoco.MjData(m)
    d.qpos[:] = q
    mujoco.mj_kinematics(m, d)
    mujoco.mj_comPos(m, d)
    return float(d.subtree_com[0, 2])


def _at(model: RigidModel, pose: Pose) -> tuple[Any, ...]:
    """The state of one world at rest in a pose."""
    rest = States(pose.q[None], np.zeros((1, sizes(model)["nv"])), np.zeros((1, model.na)), pose.u[None])
    return _used(model, reduced(model, rest))[:-1]


def _used(model: RigidModel, states: States) -> tuple[Any, ...]:
    """State and controls; activations only where the model has them."""
    return tuple(part for part, keep in zip(states, (True, True, model.na > 0, True), strict=True) if keep)


def _buffer(array: Any) -> Buffer:
    return Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu")


def _step(d: RigidDynamics, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], bool]:
    """The state after a control step, and whether all worlds are fine."""
    out, ok, _ = _recorded(d, given)
    return out, bool((ok == 1).all())


def _recorded(d: RigidDynamics, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, Any]:
    *state, u = (np.ascontiguousarray(part) for part in given)
    out = tuple(np.full_like(part, np.nan) for part in state)
    ok, saved = np.full(len(u), -1, np.int32), np.zeros(d.saved_size(len(u)))
    d.step([_buffer(p) for p in state], [_buffer(u)], [_buffer(p) for p in out], _buffer(ok), _buffer(saved))
    return out, ok, saved


def _vjp(d: RigidDynamics, given: tuple[Any, ...], weights: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Cotangents of state and controls, and which worlds did not diverge."""
    _, ok, saved = _recorded(d, given)
    *state, u = (np.ascontiguousarray(part) for part in given)
    bars = tuple(np.full_like(part, np.nan) for part in given)
    inputs, outputs = [_buffer(p) for p in state], [_buffer(np.ascontiguousarray(w)) for w in weights]
    d.vjp(inputs, [_buffer(u)], _buffer(ok), _buffer(saved), outputs, [_buffer(bar) for bar in bars])
    return bars, ok == 1
