"""Our rigid-body tasks on Newton's engine: the same robots, observations and rewards with another simulator.

The tasks need the extra ``newton``; importing this module does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsim_core._interop import from_numpy
from diffsim_core._protocol import Array, PyTree, Random
from diffsim_core.options import Substeps, typed_parameters
from diffsim_core.rigid.dynamics import RigidState
from diffsim_core.rigid.model import JointType, RigidModel
from diffsim_core.tasks._rigid import CONTROL_DT, RigidTask, bundled_model, simulate
from diffsim_core.tasks.ant import Ant
from diffsim_core.tasks.cartpole import CartPole
from diffsim_core.tasks.hopper import Hopper

if TYPE_CHECKING:
    import newton

    from diffsim_core.adapters import NewtonDynamics

CONTACT_GAP = 0.25
"""Distance at which a contact is detected at the start of a control step [m]: 15 m/s for 1/60 s."""
TYPICAL_DEPTH = 0.01
"""Depth at which Newton's contact damping, which is constant, equals ours, which grows with depth [m]."""


class NewtonTask:
    """A task of this package with Newton's physics.

    Its physics state is a ``NewtonState``. For the task's code it is converted to a ``RigidState``, so that
    observations and rewards have the same meaning and the same gradients.

    Args:
        task: One of our rigid-body tasks, without muscles. Its own simulator does not run.
        dynamics: Newton worlds of the same robot with the solver ``"featherstone"``: joints in the same order.

    Raises:
        ValueError: if task and dynamics have different coordinates, or the dynamics has other inputs than ``joint_f``.
    """

    def __init__(self, task: RigidTask, dynamics: NewtonDynamics) -> None:
        model = task.dynamics.model
        shapes = tuple(spec.shape for spec in (*dynamics.state_spec, *dynamics.control_spec))
        if shapes != ((model.nq,), (model.nv,), (model.nv,)):
            raise ValueError(
                f"task {task.name!r} has {model.nq} coordinates and {model.nv} velocities, driven by joint_f; the "
                f"Newton model has arrays of {', '.join(map(str, shapes))} for each world"
            )
        if model.na or (model.joint_type == JointType.BALL).any():
            raise ValueError(
                f"task {task.name!r} has muscles or ball joints, whose state has another form in Newton; "
                "choose another task"
            )
        self.task: Any = task
        self.dynamics = dynamics
        self.name = f"newton_{task.name}"
        self.horizon = task.horizon
        self.num_obs = task.num_obs
        self.num_actions = task.num_actions
        self.obs_names = task.obs_names
        self.action_names = task.action_names
        self.control_range = task.control_range
        """Of the motors' commands, which their gears turn into forces."""
        self._free = bool(model.joint_type[0] == JointType.FREE)
        self._com = model.link_com[0].astype(dynamics.dtype)
        drive = np.zeros((model.nu, model.nv), dynamics.dtype)
        drive[np.arange(model.nu), model.actuator_dof] = model.actuator_gear
        self._drive = drive

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """That of the task."""
        physics, memory = self.task.initial(xp, random)
        return self.from_rigid(xp, physics), memory

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """Joint forces ``[N, nv]``: motor commands times gear, none on the root."""
        (u,) = self.task.control(xp, action)
        return (u @ from_numpy(self._drive, u),)

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """That of the task."""
        return self.task.advance(xp, action, task)

    def observe(self, xp: Any, physics: PyTree, task: PyTree) -> PyTree:
        """That of the task, ``[N, no]``."""
        return self.task.observe(xp, self.to_rigid(xp, physics), task)

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: PyTree, task: PyTree
    ) -> Array:
        """That of the task, ``[N]``."""
        before, after = self.to_rigid(xp, physics), self.to_rigid(xp, next_physics)
        return self.task.reward(xp, before, action, after, next_obs, task)

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """That of the task, ``[N]``."""
        return self.task.terminated(xp, self.to_rigid(xp, physics), task)

    def to_rigid(self, xp: Any, physics: PyTree) -> RigidState:
        """Newton's state as a ``RigidState``, with velocity of the root's origin and angular velocity in its axes."""
        q, qd = physics
        if not self._free:
            return RigidState(q, qd)
        u, w = q[:, 3:6], q[:, 6:7]
        spin = _turn(xp, -u, w, qd[:, 3:6])
        velocity = qd[:, :3] - _turn(xp, u, w, xp.linalg.cross(spin, self._arm(xp, spin)))
        return RigidState(xp.concat([q[:, :3], w, u, q[:, 7:]], axis=1), xp.concat([velocity, spin, qd[:, 6:]], axis=1))

    def from_rigid(self, xp: Any, physics: PyTree) -> tuple[Array, Array]:
        """The inverse of ``to_rigid``."""
        q, qd = physics
        if not self._free:
            return q, qd
        w, u, spin = q[:, 3:4], q[:, 4:7], qd[:, 3:6]
        velocity = qd[:, :3] + _turn(xp, u, w, xp.linalg.cross(spin, self._arm(xp, spin)))
        return (
            xp.concat([q[:, :3], u, w, q[:, 7:]], axis=1),
            xp.concat([velocity, _turn(xp, u, w, spin), qd[:, 6:]], axis=1),
        )

    def _arm(self, xp: Any, like: Array) -> Array:
        """The root's centre of mass in its own axes, in every world."""
        return xp.zeros_like(like) + from_numpy(self._com, like)


def _turn(xp: Any, u: Array, w: Array, v: Array) -> Array:
    """Vectors ``v`` rotated by unit quaternions with vector part ``u`` and scalar part ``w``."""
    t = 2 * xp.linalg.cross(u, v)
    return v + w * t + xp.linalg.cross(u, t)


def newton_worlds(model: RigidModel, num_envs: int, device: str) -> newton.Model:
    """``num_envs`` worlds of a bundled robot, through Newton's MJCF importer, with the constants of our own model.

    Stiffness, friction and joint limits equal ours. Contact damping follows Newton's law, see ``TYPICAL_DEPTH``.
    """
    import newton

    def material(builder: newton.ModelBuilder, gap: float) -> None:
        shape = builder.default_shape_cfg
        shape.ke, shape.kf, shape.mu = (float(x[0]) for x in (model.contact_kn, model.contact_kt, model.contact_mu))
        shape.kd, shape.gap = float(model.contact_kd[0]) * TYPICAL_DEPTH, gap

    robot, scene = newton.ModelBuilder(), newton.ModelBuilder()
    if len(model.contact_kn):
        material(robot, CONTACT_GAP)
        material(scene, 0.0)
    with resources.as_file(resources.files("diffsim_core.tasks") / "models" / f"{model.name}.xml") as path:
        robot.add_mjcf(str(path), parse_mujoco_options=False, enable_self_collisions=False, ignore_names=("ground",))
    shape = robot.default_shape_cfg
    for name in ("ke", "kd", "kf", "mu"):  # the importer sets its own defaults
        setattr(robot, f"shape_material_{name}", [getattr(shape, name)] * robot.shape_count)
    of_dof = np.repeat(np.arange(len(model.joint_type)), np.diff(np.append(model.joint_dof, model.nv)))
    limited = model.joint_limited[of_dof].astype(bool)
    robot.joint_limit_ke = np.where(limited, model.limit_stiffness[of_dof], 0.0).tolist()
    robot.joint_limit_kd = np.where(limited, model.limit_damping[of_dof], 0.0).tolist()
    scene.replicate(robot, num_envs)
    if len(model.contact_kn):
        scene.add_ground_plane()
    return scene.finalize(device=device, requires_grad=True)


def task_on_newton(robot: type[RigidTask]) -> Callable[..., NewtonTask]:
    """``make_task`` of a robot on Newton: the robot's own options and ``substeps``."""
    options = typed_parameters(robot)[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    substeps = inspect.Parameter("substeps", keyword, default=robot.substeps, annotation=Substeps)

    def make_task(
        *, num_envs: int, device: str, dtype: str, substeps: int = robot.substeps, **given: Any
    ) -> NewtonTask:
        from diffsim_core.adapters import NewtonDynamics

        if dtype != "float32":
            raise ValueError(f"dtype={dtype!r}, but Newton computes in single precision only; use dtype='float32'")
        model = bundled_model(robot.name, inertia_law="paper")
        task = robot(simulate(model, device=device, dtype=dtype, substeps=substeps), **given)
        worlds = newton_worlds(model, num_envs, device)
        touching = len(model.contact_kn) > 0
        return NewtonTask(task, NewtonDynamics(worlds, dt=CONTROL_DT, substeps=substeps, contacts=touching))

    given = [inspect.Parameter(name, keyword) for name in ("num_envs", "device", "dtype")]
    make_task.__signature__ = inspect.Signature([*given, *options, substeps])  # pyright: ignore[reportFunctionMemberAccess]
    return make_task


make_ant = task_on_newton(Ant)
make_cartpole = task_on_newton(CartPole)
make_hopper = task_on_newton(Hopper)
