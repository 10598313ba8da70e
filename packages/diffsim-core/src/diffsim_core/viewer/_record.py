"""``record``: a policy's rollout as a :class:`Motion`, whose poses come from the engine's sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from diffsim_core._env import TaskEnv
from diffsim_core._interop import backend, to_numpy
from diffsim_core._protocol import Array, EnvState, PyTree, Transition
from diffsim_core._tree import tree_map
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import Body, FloatArray, RigidModel
from diffsim_core.rigid.sensors import Sensors
from diffsim_core.viewer._forces import contacts_of
from diffsim_core.viewer._markers import marked
from diffsim_core.viewer._motion import Contacts, Motion, MusclePaths, Shape
from diffsim_core.viewer.html import write_html

_KINDS = ("position", "quaternion", "velocity", "angular_velocity")
_MUSCLE_WIDTH = 0.004, 0.014
"""Drawn thickness of the weakest and the strongest muscle [m]."""


class Footage(NamedTuple):
    """A rollout of any simulator as NumPy arrays, whose first axes are ``T`` frames and ``N`` worlds.

    The fields have the names of the arguments of ``motion_of``.
    """

    physics: PyTree
    """States in the simulator's own containers, ``[T, N, ...]``."""
    action: Any
    """``[T, N, na]`` action in each frame."""
    begins: Any
    """``[T, N]`` whether an episode begins with the frame."""
    curves: dict[str, Any]
    """Numbers ``[T, N]`` by name: ``reward`` and others."""
    task: PyTree = None
    """States of the task, ``[T, N, ...]``, for its markers; None where they are not known."""


@runtime_checkable
class OwnPage(Protocol):
    """Dynamics with its own page, which replaces the three-dimensional one."""

    def write_page(self, footage: Footage, path: str | Path, *, name: str, dt: float) -> None:
        """Write one HTML file that opens offline; ``name`` is the task's, ``dt`` the time between frames [s]."""
        ...


@runtime_checkable
class OwnMotion(Protocol):
    """Dynamics that says itself what is drawn of its states."""

    def motion(self, footage: Footage, *, name: str, dt: float) -> Motion:
        """The motion of a rollout; ``name`` is the task's, ``dt`` the time between frames [s]."""
        ...


class Recorder:
    """Recorder of a rollout that other code runs: ``add`` each step, then call ``motion``.

    Args:
        env: worlds of a task on :class:`diffsim_core.rigid.RigidDynamics`, or on dynamics with its own motion or page.
        worlds: number of worlds to record, from the first one on; default: all.

    Raises:
        TypeError: the environment has other dynamics; construct a :class:`Motion` yourself.
        ValueError: ``worlds`` is more than the environment has.
    """

    def __init__(self, env: Any, worlds: int | None = None) -> None:
        if not isinstance(_simulator(env), OwnPage):
            check_drawn(env)
        self.env = env
        self.worlds: int = env.num_envs if worlds is None else worlds
        if not 1 <= self.worlds <= env.num_envs:
            raise ValueError(f"worlds={worlds}: the environment has {env.num_envs}")
        self._rows: list[tuple[PyTree, Any, PyTree]] = []
        self._curves: list[dict[str, Any]] = []
        self._begins: list[Any] = [np.ones(self.worlds, dtype=bool)]

    def add(self, state: EnvState, action: Array, transition: Transition, value: Array | None = None) -> None:
        """Record one step: the state before it, its action and its transition; ``value [N]`` is the state's value."""
        self._rows.append(self._copy((state.physics, action, state.task)))
        curves: dict[str, Any] = {"reward": transition.reward}
        if value is not None:
            curves["value"] = value
        self._curves.append(self._copy({**curves, **transition.metrics}))
        self._begins.append(self._copy(transition.terminated | transition.truncated))

    def footage(self) -> Footage:
        """All recorded steps as arrays.

        Raises:
            ValueError: no step was recorded.
        """
        if not self._rows:
            raise ValueError("nothing was recorded: add at least one step")
        physics, action, task = tree_map(_stack, *self._rows)
        return Footage(physics, action, np.stack(self._begins[:-1]), tree_map(_stack, *self._curves), task)

    def motion(self) -> Motion:
        """All recorded steps as a motion.

        Raises:
            TypeError: nothing says what is drawn of this environment.
            ValueError: no step was recorded.
        """
        return motion_of(self.env, **self.footage()._asdict())

    def _copy(self, tree: PyTree) -> PyTree:
        return tree_map(lambda leaf: to_numpy(leaf)[: self.worlds], tree)


def film(
    env: Any,
    policy: Callable[[Any], Array],
    *,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    worlds: int | None = None,
    value: Callable[[Any], Array] | None = None,
) -> Footage:
    """Run ``policy`` from new episodes and record the steps.

    Args:
        env: worlds of a task on :class:`diffsim_core.rigid.RigidDynamics`, or on dynamics with its own page.
        policy: ``policy(obs [N, no]) -> action [N, na]``.
        steps: number of control steps to record; default: the horizon of one episode.
        episodes: stop earlier, when every world has finished this number of episodes.
        seed: seed of the worlds.
        worlds: number of worlds to record, from the first one on; default: all.
        value: ``value(obs [N, no]) -> [N]``, a value function that is drawn next to the reward.

    Raises:
        TypeError: the environment has other dynamics.
        ValueError: a number is not positive.
    """
    for name, number in (("steps", steps), ("episodes", episodes)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number}: give at least 1")
    recorder = Recorder(env, worlds)
    max_steps: int = env.spec.horizon * (episodes or 1) if steps is None else steps
    state, obs = env.reset(seed)
    finished = np.zeros(recorder.worlds, dtype=int)
    for _ in range(max_steps):
        action = policy(obs)
        next_state, transition = env.step(state, action)
        recorder.add(state, action, transition, value(obs) if value is not None else None)
        state, obs = next_state, transition.obs
        finished += to_numpy(transition.terminated | transition.truncated)[: recorder.worlds]
        if episodes is not None and (finished >= episodes).all():
            break
    return recorder.footage()


def record(
    env: Any,
    policy: Callable[[Any], Array],
    *,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    worlds: int | None = None,
    value: Callable[[Any], Array] | None = None,
) -> Motion:
    """Run ``policy`` from new episodes and record its motion.

    Arguments and errors are those of ``film``. Dynamics of which nothing says what is drawn raises TypeError.
    """
    check_drawn(env)
    filmed = film(env, policy, steps=steps, episodes=episodes, seed=seed, worlds=worlds, value=value)
    return motion_of(env, **filmed._asdict())


def write_page(env: Any, footage: Footage, path: str | Path) -> None:
    """Write a rollout as one HTML file that opens offline: the dynamics' own page if it has one, else a motion's.

    Raises:
        TypeError: the dynamics has no page or motion of its own and does not simulate rigid bodies.
        OSError: the file cannot be written.
    """
    simulator = _simulator(env)
    if isinstance(simulator, OwnPage):
        simulator.write_page(footage, path, name=env.spec.name, dt=env.spec.dt)
        return
    write_html(motion_of(env, **footage._asdict()), path)


def motion_of(
    env: Any,
    physics: PyTree,
    action: Any,
    *,
    begins: Any = None,
    curves: Mapping[str, Any] | None = None,
    task: PyTree = None,
) -> Motion:
    """The motion of recorded states.

    Args:
        env: any number of worlds of the task; only its model is read.
        physics: states of the simulator in its own containers, NumPy arrays ``[T, N, ...]``.
        action: ``[T, N, na]`` action in each state; clipped to [-1, 1].
        begins: ``[T, N]`` whether an episode begins with the frame; default: only with the first one.
        curves: numbers ``[T, N]`` by name.
        task: states of the task, NumPy arrays ``[T, N, ...]``. A task with a method ``markers(xp, physics, task)``,
            such as one with a goal, then draws balls: it returns a :class:`Marker`, or places ``[N, 3]`` [m], by name.

    Raises:
        TypeError: the environment neither simulates rigid bodies nor has a motion of its own.
        ValueError: an array has the wrong shape, also that of a marker, or a shape or muscle is on a link without a
            body.
    """
    T, N = action.shape[:2]
    if begins is None:
        begins = np.broadcast_to(np.arange(T)[:, None] == 0, (T, N))
    simulator = _simulator(env)
    if isinstance(simulator, OwnMotion):
        footage = Footage(physics, action, begins, dict(curves or {}), task)
        return marked(simulator.motion(footage, name=env.spec.name, dt=env.spec.dt), env, physics, task)
    dynamics = _dynamics(env)
    model = dynamics.model
    carriers = _carriers(model)
    pose = _poses(env, dynamics, carriers, physics) if carriers else np.zeros((T, N, 0, 13))
    contacts, notes = Contacts(), []
    if any(name.startswith(("contact_", "pair_")) for name in dynamics.parameters.names):
        notes.append("Contact forces are not recorded, because contact parameters are inputs of this model.")
    else:
        contacts = contacts_of(model, carriers, pose)
    motion = Motion(
        name=env.spec.name,
        dt=env.spec.dt,
        bodies=tuple(body.name for body in carriers.values()),
        shapes=_shapes(model, carriers),
        position=pose[..., :3],
        quaternion=pose[..., 3:7],
        begins=begins,
        curves=dict(curves or {}),
        muscles=_muscles(model, carriers),
        activation=_activations(env, model, physics, action),
        contacts=contacts,
        terrain=model.ground_field,
        notes=tuple(notes),
    )
    return marked(motion, env, physics, task)


def check_drawn(env: Any) -> None:
    """Raise ``TypeError`` unless a motion can be recorded: of rigid bodies, or of dynamics that says what is drawn."""
    if not isinstance(_simulator(env), OwnMotion):
        _dynamics(env)


def _simulator(env: Any) -> Any:
    return env.task.dynamics if isinstance(env, TaskEnv) else env


def _dynamics(env: Any) -> RigidDynamics:
    dynamics = _simulator(env)
    if not isinstance(dynamics, RigidDynamics):
        name = type(dynamics).__name__
        raise TypeError(
            f"only rigid bodies can be recorded, and this is {name}; give it a method motion, or construct a "
            "viewer.Motion yourself"
        )
    return dynamics


def _carriers(model: RigidModel) -> dict[int, Body]:
    """The first body of each moving link that has bodies; sensors give its pose."""
    carriers: dict[int, Body] = {}
    for body in model.bodies:
        if body.link >= 0:
            carriers.setdefault(body.link, body)
    return carriers


def _carrier(carriers: Mapping[int, Body], link: int, what: str) -> Body:
    if link not in carriers:
        raise ValueError(f"{what} is on link {link}, which has no body; add one to the model's bodies")
    return carriers[link]


def _poses(env: TaskEnv, dynamics: RigidDynamics, carriers: Mapping[int, Body], physics: PyTree) -> FloatArray:
    """``[T, N, nb, 13]``: position, quaternion, velocity and angular velocity of each carrier."""
    sensors = Sensors(dynamics, [f"{kind}:body/{body.name}" for body in carriers.values() for kind in _KINDS])
    read = to_numpy(sensors(tree_map(lambda array: _flat(env, array), physics)))
    return read.astype(np.float64).reshape(*physics.q.shape[:2], len(carriers), 13)


def _flat(env: TaskEnv, array: Any) -> Array:
    """A NumPy array ``[T, N, k]`` as an array ``[T * N, k]`` of the environment's library."""
    values = np.ascontiguousarray(array.reshape(-1, array.shape[-1]), dtype=env.dtype)
    return env.xp.asarray(values, device=backend(env.arrays).device(env.device))


def _shapes(model: RigidModel, carriers: Mapping[int, Body]) -> tuple[Shape, ...]:
    place = {link: index for index, link in enumerate(carriers)}
    shapes = []
    for geom in model.geoms:
        if geom.type == "hfield":
            continue  # viewers draw the height field itself
        pos, quat = geom.pos, geom.quat / np.linalg.norm(geom.quat)
        if geom.link >= 0:
            body = _carrier(carriers, geom.link, f"shape {geom.name!r}")
            inverse = body.quat / np.linalg.norm(body.quat) * [1, -1, -1, -1]
            pos, quat = rotation(inverse) @ (pos - body.pos), quat_mul(inverse, quat)
        pos_, quat_, size, rgba = (tuple(float(x) for x in array) for array in (pos, quat, geom.size, geom.rgba))
        body_ = place[geom.link] if geom.link >= 0 else -1
        shapes.append(Shape(name=geom.name, type=geom.type, body=body_, pos=pos_, quat=quat_, size=size, rgba=rgba))
    return tuple(shapes)


def _muscles(model: RigidModel, carriers: Mapping[int, Body]) -> MusclePaths:
    muscles = model.muscles
    if not muscles.n:
        return MusclePaths()
    place = {link: index for index, link in enumerate(carriers)} | {-1: -1}
    owner = np.repeat(np.arange(muscles.n), np.diff(muscles.first))
    pos = muscles.segment_pos.copy()
    for s, ends in enumerate(muscles.segment_link):
        for k, link in enumerate(ends):
            if link >= 0:
                body = _carrier(carriers, int(link), f"muscle {muscles.name[owner[s]]!r}")
                pos[s, k] = rotation(body.quat / np.linalg.norm(body.quat)).T @ (pos[s, k] - body.pos)
    strength = np.where(muscles.activation >= 0, muscles.hill[:, 4], 1.0) * np.abs(muscles.gear)
    low, high = _MUSCLE_WIDTH
    return MusclePaths(
        names=muscles.name,
        width=low + (high - low) * np.sqrt(strength / max(strength.max(), 1e-12)),
        muscle=owner,
        body=np.array([[place[int(link)] for link in ends] for ends in muscles.segment_link], dtype=np.int64),
        pos=pos,
    )


def _activations(env: TaskEnv, model: RigidModel, physics: PyTree, action: Any) -> Any:
    """``[T, N, n]``: the activation of a Hill muscle; for others the control, relative to its range."""
    muscles = model.muscles
    if not muscles.n:
        return np.zeros((*action.shape[:2], 0))
    (control,) = env.task.control(env.xp, _flat(env, np.clip(action, -1, 1)))
    control = to_numpy(control).reshape(*action.shape[:2], model.nu)
    activation = np.clip(control / np.maximum(np.abs(model.actuator_range[:, 1]), 1e-12), 0, 1)[..., muscles.control]
    own = muscles.activation >= 0
    if own.any():
        activation[..., own] = np.clip(physics.act, 0, 1)[..., muscles.activation[own]]
    return activation


def _stack(*leaves: Any) -> Any:
    return np.stack(leaves)
