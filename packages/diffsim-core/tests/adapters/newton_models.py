"""Small Newton models, gradients by differences, and gradients as Newton itself gives them."""

from __future__ import annotations

from typing import NamedTuple

import newton
import numpy as np
import torch
import warp as wp

from diffsim_core import differentiable
from diffsim_core.adapters import NewtonDynamics
from diffsim_core.tasks import bundled_model
from diffsim_core.tasks.newton import newton_worlds

IDENTITY = wp.transform_identity()
BELOW = wp.transform((0.0, 0.0, 0.3), wp.quat_identity())
"""A joint 0.3 m above a body's origin."""


def ant_worlds(n: int) -> newton.Model:
    return newton_worlds(bundled_model("ant", inertia_law="paper"), n, "cpu")


def ant_state(n: int, height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates, velocities and joint forces, the root's included; at 0.45 m feet and legs are in contact."""
    random = np.random.default_rng(0)
    q = np.tile([0, 0, height, 0, 0, 0, 1, 0, 1, 0, -1, 0, -1, 0, 1.0], (n, 1))
    q[:, 3:7] += 0.1 * random.normal(size=(n, 4))
    q[:, 3:7] /= np.linalg.norm(q[:, 3:7], axis=1, keepdims=True)
    qd, force = 0.5 * random.normal(size=(n, 14)), 20.0 * random.normal(size=(n, 14))
    return q.astype(np.float32), qd.astype(np.float32), force.astype(np.float32)


def box_on(joint: str, n: int) -> newton.Model:
    """Worlds of a box that hangs on a joint of that kind, or two boxes on a ball and a fixed joint."""
    robot = newton.ModelBuilder()
    box = robot.add_link()
    robot.add_shape_box(box, hx=0.3, hy=0.25, hz=0.2)
    axis = newton.ModelBuilder.JointDofConfig
    if joint == "d6":
        lin, ang = [axis(axis=(1, 0, 0))], [axis(axis=(0, 1, 0))]
        joints = [robot.add_joint_d6(-1, box, linear_axes=lin, angular_axes=ang, child_xform=BELOW)]
    elif joint in ("prismatic", "revolute"):
        joints = [getattr(robot, f"add_joint_{joint}")(-1, box, axis=(0, 1, 0), child_xform=BELOW)]
    elif joint == "free":
        joints = [robot.add_joint_free(box)]
    else:
        joints = [robot.add_joint_ball(-1, box, child_xform=BELOW)]
    if joint == "fixed":
        other = robot.add_link()
        robot.add_shape_box(other, hx=0.2, hy=0.25, hz=0.3)
        joints.append(robot.add_joint_fixed(box, other, parent_xform=wp.transform((0, 0, -0.6), wp.quat_identity())))
    robot.add_articulation(joints)
    scene = newton.ModelBuilder()
    scene.replicate(robot, n)
    return scene.finalize(device="cpu", requires_grad=True)


def moved(dynamics: NewtonDynamics, scale: float = 0.2, seed: int = 0) -> list[np.ndarray]:
    """A random state near the one the model was built in, kept within its joints, and random controls."""
    random, model, n = np.random.default_rng(seed), dynamics.model, dynamics.num_worlds
    q = model.joint_q.numpy() + scale * random.normal(size=model.joint_coord_count)
    qd = 0.5 * random.normal(size=model.joint_dof_count)
    state = model.state()
    state.joint_q.assign(q.astype(np.float32))
    state.joint_qd.assign(qd.astype(np.float32))
    newton.eval_fk(model, state.joint_q, state.joint_qd, state)
    names = [spec.name if spec.name.startswith("body") else f"joint_{spec.name}" for spec in dynamics.state_spec]
    arrays = [getattr(state, name).numpy() for name in names]
    arrays = [a.reshape(n, *spec.shape) for a, spec in zip(arrays, dynamics.state_spec, strict=True)]
    return arrays + [3 * random.normal(size=(n, *spec.shape)).astype(np.float32) for spec in dynamics.control_spec]


class Compared(NamedTuple):
    exact: list[np.ndarray]
    """Gradient ``[N, numbers]`` of each input."""
    differences: list[np.ndarray]
    clear: np.ndarray
    """Worlds whose differences of two widths agree: no switch of contact, slip or limit lies between them."""

    def error(self, gradient: list[np.ndarray] | None = None) -> list[float]:
        """For each input, the largest ``max |gradient - differences| / max |differences|`` over clear worlds."""
        pairs = zip(gradient or self.exact, self.differences, strict=True)
        each = [np.abs(g.reshape(d.shape) - d).max(axis=1) / np.abs(d).max(axis=1) for g, d in pairs]
        return [float(e[self.clear].max()) for e in each]


def weights(inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Random cotangents of the next state."""
    random = np.random.default_rng(1)
    return [random.normal(size=array.shape).astype(np.float32) for array in inputs[:2]]


def compare(
    dynamics: NewtonDynamics,
    inputs: list[np.ndarray],
    widths: list[float],
    *,
    times: tuple[float, ...] = (1.0,),
) -> Compared:
    """Gradients of one control step through the torch bridge, and central differences of its float32 outputs.

    A difference is taken with each input's width, multiplied by ``times``, and the one that agrees best with that of
    twice the width is kept: wide ones meet switches of contact, narrow ones rounding.
    """
    step, n = differentiable(dynamics), dynamics.num_worlds
    on_state = [torch.tensor(array) for array in weights(inputs)]

    def loss(arrays: list[torch.Tensor]) -> torch.Tensor:
        state, ok = step(dynamics.state_type(*arrays[:2]), tuple(arrays[2:]))
        assert bool(ok.all())
        return sum((w * x).reshape(n, -1).double().sum(1) for w, x in zip(on_state, state, strict=True))  # pyright: ignore[reportReturnType]

    given = [torch.tensor(array, requires_grad=True) for array in inputs]
    exact = [g.numpy().reshape(n, -1) for g in torch.autograd.grad(loss(given).sum(), given)]
    best, clear = [], np.ones(n, dtype=bool)
    for which, first in enumerate(widths):
        found, doubt = np.zeros(exact[which].shape), np.full(exact[which].shape, np.inf)

        def at(column: int, by: float, which: int = which) -> np.ndarray:
            arrays = [array.detach().clone() for array in given]
            arrays[which].view(n, -1)[:, column] += by
            return loss(arrays).detach().numpy()

        for j in range(found.shape[1]):
            for h in (first * factor for factor in times):
                narrow, wide = (at(j, h) - at(j, -h)) / (2 * h), (at(j, 2 * h) - at(j, -2 * h)) / (4 * h)
                better = np.abs(narrow - wide) < doubt[:, j]
                found[better, j] = ((4 * narrow - wide) / 3)[better]
                doubt[better, j] = np.abs(narrow - wide)[better]
        clear &= doubt.max(axis=1) < 5e-4 * np.abs(found).max(axis=1)
        best.append(found)
    return Compared(exact, best, clear)


def as_newton_does(dynamics: NewtonDynamics, inputs: list[np.ndarray], *, one_solver: bool) -> list[np.ndarray]:
    """The gradient of the same step from Newton's own ``step`` on a tape, with one solver or one for each sub-step."""
    model, k = dynamics.model, dynamics.substeps
    states, control = [model.state() for _ in range(k + 1)], model.control()
    solvers = [newton.solvers.SolverFeatherstone(model) for _ in range(1 if one_solver else k)]
    arrays = [states[0].joint_q, states[0].joint_qd, control.joint_f]
    for array, values in zip(arrays, inputs, strict=True):
        array.assign(values.ravel())
    newton.eval_fk(model, states[0].joint_q, states[0].joint_qd, states[0])
    pipeline = newton.CollisionPipeline(model, requires_grad=False)
    contacts = pipeline.contacts()
    pipeline.collide(states[0], contacts)
    with wp.Tape() as tape:
        for i in range(k):
            solvers[i % len(solvers)].step(states[i], states[i + 1], control, contacts, dynamics.sub_dt)
    seeds = [wp.array(w.ravel(), dtype=wp.float32) for w in weights(inputs)]
    tape.backward(grads=dict(zip((states[k].joint_q, states[k].joint_qd), seeds, strict=True)))
    gradient = [array.grad.numpy().reshape(dynamics.num_worlds, -1) for array in arrays]
    # Of a step that, like ours, first brings the root's quaternion to unit length.
    turn, by_turn = inputs[0][:, 3:7], gradient[0][:, 3:7]
    by_turn -= turn * (turn * by_turn).sum(axis=1, keepdims=True)
    return gradient
