"""Checks of Newton's solvers and models before the first step: which ones can be differentiated."""

from __future__ import annotations

from typing import Any

import newton
import numpy as np
import warp as wp

from diffsim_core._nearest import unknown

SOLVERS = {"featherstone": newton.solvers.SolverFeatherstone, "semi_implicit": newton.solvers.SolverSemiImplicit}
CONTROLS = ("joint_f", "joint_target_q", "joint_target_qd")


def check_solver(solver: str | type, options: dict[str, Any]) -> type:
    """The class of a differentiable solver.

    Raises:
        ValueError: for any other, or for options under which gradients are wrong.
    """
    others = {name.removeprefix("Solver").lower() for name in newton.solvers.__all__ if name.startswith("Solver")}
    name = solver if isinstance(solver, str) else solver.__name__
    plain = name.removeprefix("Solver").lower().replace("_", "")
    kind = {key.replace("_", ""): value for key, value in SOLVERS.items()}.get(plain)
    if kind is None and plain in others:
        raise ValueError(
            f"solver={name!r} of Newton is not differentiable; take 'featherstone' (generalised coordinates) or "
            f"'semi_implicit' (a pose for each body)"
        )
    if kind is None:
        raise ValueError(unknown("solver", name, SOLVERS))
    if options.get("update_mass_matrix_interval", 1) != 1:
        interval = options["update_mass_matrix_interval"]
        raise ValueError(
            f"update_mass_matrix_interval={interval!r} must be 1, because every sub-step has its own solver and mass "
            f"matrix"
        )
    return kind


def check_model(model: newton.Model, solver: type) -> None:
    """Raise ``ValueError`` that lists everything in a model for which gradients would be missing or wrong."""
    wrong = []
    if not model.requires_grad:
        wrong.append("it has no gradients; finalize(requires_grad=True)")
    if model.particle_count:
        wrong.append(f"its {model.particle_count} particles would not be part of the state; leave them out")
    if model.body_count:
        kinematic = (_numbers(model.body_flags) & int(newton.BodyFlags.KINEMATIC)) != 0
        if kinematic.any():
            wrong.append(f"{_some(model.body_label, kinematic)} is kinematic, written in place; make it dynamic")
    if model.joint_count and getattr(model, "joint_mimic_joint", None) is not None:
        mimics = _numbers(model.joint_mimic_joint) >= 0
        if mimics.any():
            wrong.append(f"{_some(model.joint_label, mimics)} mimics another joint in place; leave the mimic out")
    if model.joint_count and solver is newton.solvers.SolverFeatherstone:
        free = np.isin(_numbers(model.joint_type), [int(newton.JointType.FREE), int(newton.JointType.DISTANCE)])
        below = free & (_numbers(model.joint_parent) >= 0)
        if below.any():
            wrong.append(f"{_some(model.joint_label, below)} is free below another body; attach it to the world")
    if model.joint_count and solver is newton.solvers.SolverSemiImplicit:
        rigid = [int(newton.JointType.PRISMATIC), int(newton.JointType.FIXED), int(newton.JointType.D6)]
        held = np.isin(_numbers(model.joint_type), rigid) & (_numbers(model.joint_dof_dim)[:, 1] == 0)
        if held.any():
            wrong.append(
                f"{_some(model.joint_label, held)} does not turn, and semi_implicit's gradient w.r.t. its orientation "
                f"is singular where the joint holds; take solver='featherstone'"
            )
    if not model.body_count:
        wrong.append("it has no bodies")
    wrong += _not_simulated(model, solver)
    wrong += _uneven(model)
    if wrong:
        raise ValueError("this Newton model cannot be differentiated as worlds: " + "; ".join(wrong))


def _not_simulated(model: newton.Model, solver: type) -> list[str]:
    """What a model has and the solver leaves out without a word."""
    name = {kind: key for key, kind in SOLVERS.items()}[solver]
    wrong = []
    mujoco = getattr(model, "mujoco", None)
    if model.joint_count:
        friction, start = _numbers(model.joint_friction), _numbers(model.joint_qd_start)[: model.joint_count]
        rough = np.isin(
            np.arange(model.joint_count), np.searchsorted(start, np.flatnonzero(friction), side="right") - 1
        )
        if rough.any():
            wrong.append(f"{_some(model.joint_label, rough)} has friction, which {name} leaves out; use damping")
        loose = _numbers(model.joint_articulation) < 0
        if loose.any() and solver is newton.solvers.SolverFeatherstone:
            wrong.append(
                f"{_some(model.joint_label, loose)} closes a loop or is in no articulation, and featherstone simulates "
                "trees; take solver='semi_implicit', or cut the loop"
            )
    if getattr(model, "constraint_mimic_count", 0):
        wrong.append(f"its {model.constraint_mimic_count} mimic constraints are left out by {name}; remove them")
    if count := int(getattr(mujoco, "equality_constraint_count", 0) or 0):
        wrong.append(f"its {count} equality constraints are left out by {name}; remove them, or model the joint itself")
    compensated = getattr(mujoco, "gravcomp", None)
    if compensated is not None and (lifted := _numbers(compensated) != 0).any():
        wrong.append(f"{_some(model.body_label, lifted)} has gravcomp, which {name} leaves out; set it to 0")
    tendons = getattr(mujoco, "tendon_stiffness", None)
    if tendons is not None and len(tendons):
        wrong.append(
            f"its {len(tendons)} tendons are left out by {name}; remove them, or put their motors on the joints"
        )
    return wrong


def _uneven(model: newton.Model) -> list[str]:
    """Reasons why the worlds are not equal blocks of the model, in order."""
    n = int(model.world_count)
    for what, plural in (("body", "bodies"), ("joint", "joints")):
        worlds = getattr(model, f"{what}_world")
        if worlds is None or not len(worlds):
            continue
        number, count = _numbers(worlds), len(worlds)
        if n < 1 or count % n or (number != np.repeat(np.arange(n), count // n)).any():
            return [f"its {count} {plural} are not {n} equal worlds; build one world and replicate(robot, N)"]
    if model.joint_count:
        rows = _numbers(model.joint_type).reshape(n, -1)
        if (rows != rows[:1]).any():
            return ["its worlds have different joints; build one world and replicate(robot, N)"]
    return []


def per_world(control: newton.Control, name: str, num_worlds: int) -> wp.array:
    """An array of ``newton.Control``.

    Raises:
        ValueError: if the array does not exist or is empty.
    """
    if name not in CONTROLS:
        raise ValueError(unknown("control", name, CONTROLS))
    array = getattr(control, name)
    if array is None or not len(array) or len(array) % num_worlds:
        raise ValueError(
            f"controls has {name!r}, but the array of this Newton model does not have numbers for each world"
        )
    return array


def quaternions(model: newton.Model, *, maximal: bool) -> list[int]:
    """Columns of one world's ``body_q`` (``maximal``) or ``joint_q`` in which quaternions begin."""
    n = int(model.world_count)
    if maximal:
        return [7 * body + 3 for body in range(model.body_count // n)]
    begin = {int(newton.JointType.FREE): 3, int(newton.JointType.DISTANCE): 3, int(newton.JointType.BALL): 0}
    joints = zip(_numbers(model.joint_type)[: model.joint_count // n], _numbers(model.joint_q_start), strict=False)
    return [int(start) + begin[int(kind)] for kind, start in joints if int(kind) in begin]


def _numbers(array: Any) -> np.ndarray[Any, Any]:
    return array.numpy()


def _some(labels: Any, which: np.ndarray[Any, Any]) -> str:
    names = [str(labels[i]) for i in np.flatnonzero(which)[:3]]
    return ", ".join(names) + (", ..." if which.sum() > 3 else "")
