"""``robot_task``: any robot with a free root and motors runs along x, as the Ant does (SHAC paper, A.3.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval, Unit, doc

from diffsim_core._interop import from_numpy
from diffsim_core._protocol import Array, PyTree
from diffsim_core.io import ModelError, load_model, load_poses
from diffsim_core.options import EpisodeLength, NotNegative, Positive, RandomStart, Threads
from diffsim_core.rigid.coupled import full_state, own_state, uncoupled
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import UNBOUNDED, FloatArray, JointType, RigidModel
from diffsim_core.tasks._locomotion import HEIGHT, SPEED, UP, Runner
from diffsim_core.tasks._rigid import CONTROL_DT, RigidTask, no_range

Speed = Annotated[Positive, Unit("m/s"), doc("Forward speed beyond which more earns nothing.")]
Reach = Annotated[NotNegative, Unit("rad"), doc("How far an action moves the target of a position servo.")]
Effort = Annotated[NotNegative, doc("Weight of the squared action in the reward.")]
AutoSubsteps = Annotated[
    Annotated[int, Interval(ge=1, le=10_000)] | None,
    doc("Sub-steps of a control step; none for as many as the robot asks for."),
]


class Robot(Runner):
    """Observation as ``Ant``; the reward is ``min(v_x, speed) + up + heading + height / rest height - effort |a|^2``.

    An action of a position servo moves its target from the rest pose by up to ``reach``; that of any other actuator
    spans its control range. An episode ends when the root is below half of its rest height, or leans by 60 degrees.

    Args:
        dynamics: The simulator.
        rest: Coordinates ``[nq]`` in which episodes begin.
        speed: Forward speed that is rewarded [m/s].
        reach: Of a servo's target [rad] or [m].
        effort: Weight of the squared action.
        episode_length: Control steps in an episode.
        random_start: Whether episodes begin with noise on the pose and its rates.

    Raises:
        ValueError: for a model without a free root or without actuators, or with one whose control nothing bounds.
    """

    name = "robot"
    joint_noise = 0.05

    def __init__(
        self,
        dynamics: RigidDynamics,
        *,
        rest: FloatArray,
        speed: float = 1.0,
        reach: float = 0.5,
        effort: float = 0.05,
        episode_length: EpisodeLength = 1000,
        random_start: RandomStart = True,
    ) -> None:
        model = dynamics.model
        if not model.nl or model.joint_type[0] != JointType.FREE or model.nq != 7 + (model.nv - 6) or not model.nu:
            raise ValueError(
                f"{model.name!r} cannot run: the task needs a free root in front of slides and hinges, and actuators"
            )
        self.rest = tuple(np.asarray(rest, dtype=np.float64).tolist())
        self.height = float(rest[2])
        self.speed = speed
        self.base, self.span = _commands(model, rest, reach)
        if endless := [name for name, x in zip(model.actuator_name, self.span, strict=True) if x >= UNBOUNDED]:
            raise ValueError(no_range(model.name, endless))
        super().__init__(
            dynamics, episode_length=episode_length, random_start=random_start, action_penalty=effort, reward="paper"
        )
        self.base, self.span = self.base.astype(dynamics.dtype), self.span.astype(dynamics.dtype)

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """Motor commands ``[N, nu]``."""
        base, span = (from_numpy(values, action) for values in (self.base, self.span))
        return (base + span * action,)

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """The reward before the action penalty, ``[N]``."""
        up = UP + 2 * (self.dynamics.model.nv - 6)
        forward = xp.clip(next_obs[:, SPEED], -self.speed, self.speed)
        height = xp.clip(next_obs[:, HEIGHT] / self.height, 0.0, 1.0)
        return forward + next_obs[:, up] + next_obs[:, up + 1] + height

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """Whether the robot has fallen, ``[N]``."""
        q = physics.q
        up = 1 - 2 * (q[:, 4] * q[:, 4] + q[:, 5] * q[:, 5])
        return (q[:, 2] < 0.5 * self.height) | (up < 0.5)


def _commands(model: RigidModel, rest: FloatArray, reach: float) -> tuple[FloatArray, FloatArray]:
    """Command of a zero action, and what an action of one adds, ``[nu]`` each."""
    rest, model = full_state(model, rest).q, uncoupled(model)
    low, high = model.actuator_range.T
    base, span = (low + high) / 2, (high - low) / 2
    for a, dof, gain, bias in zip(
        model.servo_actuator, model.servo_dof, model.servo_gain, model.servo_bias, strict=True
    ):
        if bias[1] < 0 and gain:
            i = int(np.flatnonzero(model.joint_dof <= dof)[-1])
            base[a] = np.clip(-bias[1] / gain * rest[model.joint_q[i]], low[a], high[a])
            span[a] = min(reach * -bias[1] / gain, span[a])
    return base, span


def with_servos(model: RigidModel, kp: float, kd: float) -> RigidModel:
    """The robot with a position servo in place of each motor on a slide or hinge, as a real one's drives have.

    The force is ``kp (u - q) - kd qd`` within the motor's control range times its gear; ``u`` is a coordinate.

    Args:
        model: The robot.
        kp: Stiffness [N/m] or [N m/rad].
        kd: Damping [N s/m] or [N m s/rad].
    """
    scalar = {int(model.joint_dof[i]): i for i in range(model.nl) if JOINTS.at(int(model.joint_type[i])).scalar}
    on_path = set(np.asarray(model.muscles.control).tolist())
    motors = [
        a
        for a, dof in enumerate(model.actuator_dof.tolist())
        if dof in scalar and model.actuator_gear[a] and a not in on_path
    ]
    forces = np.sort(model.actuator_gear[motors, None] * model.actuator_range[motors], axis=1)
    gear, bounds = model.actuator_gear.copy(), model.actuator_range.copy()
    gear[motors] = 0.0
    for a in motors:
        i = scalar[int(model.actuator_dof[a])]
        bounds[a] = model.joint_range[i] if model.joint_limited[i] else (-np.pi, np.pi)
    totals = model.servo_total_range
    if len(totals):
        totals = np.concatenate([totals, np.tile([-UNBOUNDED, UNBOUNDED], (len(motors), 1))])
    return replace(
        model,
        servo_total_range=totals,
        actuator_gear=gear,
        actuator_range=bounds,
        servo_actuator=np.concatenate([model.servo_actuator, np.array(motors, dtype=np.int64)]),
        servo_dof=np.concatenate([model.servo_dof, model.actuator_dof[motors]]),
        servo_gain=np.concatenate([model.servo_gain, np.full(len(motors), kp)]),
        servo_bias=np.concatenate([model.servo_bias.reshape(-1, 3), np.tile([0.0, -kp, -kd], (len(motors), 1))]),
        servo_range=np.concatenate([model.servo_range.reshape(-1, 2), forces]),
    )


def _rest(
    source: str | Path, root: str | Path | None, model: RigidModel, pose: str | Sequence[float] | None
) -> FloatArray:
    if pose is not None and not isinstance(pose, str):
        rest = np.array(pose, dtype=np.float64)
    else:
        poses = load_poses(source, root=root)
        if pose is not None and pose not in poses:
            raise ModelError(str(source), [f'has no keyframe "{pose}": it has {", ".join(poses) or "none"}'])
        keyframe = poses[pose] if pose is not None else next(iter(poses.values()), None)
        rest = np.array(model.q_ref) if keyframe is None else own_state(model, keyframe)[0]
    if rest.shape != (model.nq,):
        raise ValueError(f"pose has {rest.size} coordinates, and {model.name!r} has {model.nq}: give one for each")
    return rest


def robot_task(
    source: str | Path,
    *,
    root: str | Path | None = None,
    pose: str | Sequence[float] | None = None,
    servos: tuple[float, float] | None = None,
    **options: Any,
) -> Callable[..., RigidTask]:
    """A factory for ``register_task``: the robot of an MJCF file runs along x on level ground.

    Args:
        source: path of the file.
        root: folder that its files lie in, see ``load_model``.
        pose: keyframe in which episodes begin, or coordinates ``[nq]``; by default the file's first keyframe, or its
            initial pose.
        servos: ``kp, kd`` of ``with_servos``, for a robot whose file has motors.
        options: more arguments of ``load_model``. A file without a ground gets a plane at height 0.

    Raises:
        ModelError: the file cannot be loaded, or has no such keyframe.
    """
    model = load_model(source, root=root, **options)
    if not model.nc and "ground" not in options:
        model = load_model(source, root=root, ground=0.0, **options)
    model = model if servos is None else with_servos(model, *servos)
    rest = _rest(source, root, model, pose)

    def make_task(
        *,
        num_envs: int,
        device: str,
        dtype: str,
        speed: Speed = 1.0,
        reach: Reach = 0.5,
        effort: Effort = 0.05,
        episode_length: EpisodeLength = 1000,
        random_start: RandomStart = True,
        substeps: AutoSubsteps = None,
        threads: Threads = None,
    ) -> RigidTask:
        dynamics = RigidDynamics(
            model, dt=CONTROL_DT, substeps=substeps or "auto", dtype=dtype, device=device, threads=threads
        )
        return Robot(
            dynamics,
            rest=rest,
            speed=speed,
            reach=reach,
            effort=effort,
            episode_length=episode_length,
            random_start=random_start,
        )

    return make_task
