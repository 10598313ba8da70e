"""``RigidTask``: model file, control step and motor commands of every rigid-body task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Unit, doc

from diffsim_core._interop import from_numpy
from diffsim_core._memory import free_bytes, saved_bytes
from diffsim_core._protocol import Array, PyTree
from diffsim_core.io import load_model
from diffsim_core.options import EpisodeLength, NotNegative, OneOf, Substeps, Threads, typed_parameters
from diffsim_core.rigid.contact_laws import CONTACT_LAWS
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import UNBOUNDED, RigidModel

_GIVEN = ("model", "device", "dtype")
CONTROL_DT = 1 / 60
"""Duration of a control step of every task of the SHAC paper [s]."""
MUSCLE_STRENGTH = 0.36
"""Force of a muscle at full activation, divided by f0: the SHAC paper's released code scales by 0.6 twice."""


ContactLaw = Annotated[
    Annotated[str, OneOf(lambda: CONTACT_LAWS)] | None, doc("Law of contact forces; none for that of the model's file.")
]
LimitLaw = Annotated[
    Literal["paper", "released"] | None, doc("Law of joint limits; none for that of the model's file.")
]
InertiaLaw = Annotated[
    Literal["paper", "released"] | None, doc("Source of the inertias; none for that of the model's file.")
]
Memory = Annotated[
    Literal["auto", "fast", "low"],
    doc("What the backward pass is left: fast keeps more, low works it out again, auto is low where memory is short."),
]
ContactSmoothing = Annotated[NotNegative, Unit("m"), doc("Width over which contact forces set in.")]
BackwardSmoothing = Annotated[NotNegative | None, Unit("m"), doc("The same in the backward pass; none: the same.")]


def bundled_model(
    name: str,
    /,
    *,
    contact_law: ContactLaw = None,
    limit_law: LimitLaw = None,
    inertia_law: InertiaLaw = None,
) -> RigidModel:
    """Load ``models/NAME.xml`` of this package. The file sets the laws that are not given here.

    Args:
        name: Name of the model.
        contact_law: ``"released"`` or ``"paper"`` (Eq. 3 of the SHAC paper as printed).
        limit_law: ``"released"`` (joints also have a constant damping) or ``"paper"`` (Eq. 4).
        inertia_law: ``"released"`` (inertias transformed into the link's axes as in the released code, which is not a
            rotation) or ``"paper"`` (the inertias of the shapes).
    """
    laws: dict[str, Any] = {"contact_law": contact_law, "limit_law": limit_law, "inertia_law": inertia_law}
    with resources.as_file(resources.files("diffsim_core.tasks") / "models" / f"{name}.xml") as path:
        return load_model(path, **laws)


def simulate(
    model: RigidModel,
    *,
    device: str,
    dtype: str,
    substeps: Substeps,
    threads: Threads = None,
    memory: Memory = "fast",
    contact_smoothing: ContactSmoothing = 0.0,
    backward_smoothing: BackwardSmoothing = None,
) -> RigidDynamics:
    """The simulator of a task's model; arguments as :class:`RigidDynamics`. Its sub-steps are explicit, the papers'."""
    return RigidDynamics(
        model,
        dt=CONTROL_DT,
        substeps=substeps,
        dtype=dtype,
        device=device,
        threads=threads,
        memory=memory,
        contact_smoothing=contact_smoothing,
        backward_smoothing=backward_smoothing,
        integrator="explicit",
    )


def no_range(model: str, actuators: Sequence[str]) -> str:
    """What to say of actuators whose control nothing bounds."""
    names = ", ".join(f'"{name}"' for name in actuators)
    return (
        f"an action in [-1, 1] must span a control range, but actuators {names} of {model!r} have none: give each a"
        " ctrlrange in the model file, or write a control() of your own"
    )


class RigidTask:
    """Base of rigid-body tasks; a task adds ``initial``, ``observe``, ``reward`` and, if it can end, ``terminated``.

    Args:
        dynamics: The simulator.
        episode_length: Control steps in an episode.
        obs_names: One name per observation entry, with its unit.
    """

    name: ClassVar[str]
    """Name of the task and of its bundled model."""
    substeps: ClassVar[int] = 16
    """Default number of sub-steps in a control step."""
    memory: ClassVar[str] = "fast"
    """Default of the simulator's option ``memory``; a window that would take much of the device's memory uses
    ``"low"``."""

    def __init__(self, dynamics: RigidDynamics, *, episode_length: EpisodeLength, obs_names: tuple[str, ...]) -> None:
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length!r} must be at least 1 control step")
        model = dynamics.model
        self.dynamics = dynamics
        self.horizon = episode_length
        self.obs_names = obs_names
        self.action_names = model.actuator_name
        self.num_obs = len(obs_names)
        self.num_actions = model.nu
        low, high = model.actuator_range[:, 0], model.actuator_range[:, 1]
        self._unit_range = bool((low == -1).all() and (high == 1).all())
        self._endless = [name for name, x in zip(model.actuator_name, high - low, strict=True) if x >= UNBOUNDED]
        if type(self).control is RigidTask.control:
            self._check_ranges()
        self._middle = ((low + high) / 2).astype(dynamics.dtype)
        self._half = ((high - low) / 2).astype(dynamics.dtype)

    @property
    def control_range(self) -> tuple[tuple[float, float], ...]:
        """Least and greatest command of each motor; empty in a subclass that turns actions into commands itself."""
        if type(self).control is not RigidTask.control:
            return ()
        return tuple(map(tuple, self.dynamics.model.actuator_range.tolist()))

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """Motor commands ``[N, nu]``: an action in [-1, 1] spans each motor's control range."""
        self._check_ranges()
        if self._unit_range:
            return (action,)
        half, middle = (from_numpy(values, action) for values in (self._half, self._middle))
        return (action * half + middle,)

    def _check_ranges(self) -> None:
        if self._endless:
            raise ValueError(no_range(self.dynamics.model.name, self._endless))

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """The task has no memory."""
        return task

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """No state ends an episode."""
        return xp.zeros_like(physics.q[:, 0], dtype=xp.bool)


_WINDOW = 32
_LARGE = 0.25
"""Fraction of the device's free memory above which a window of 32 steps uses the low-memory mode."""


def _is_large(dynamics: RigidDynamics, num_envs: int) -> bool:
    free = free_bytes(dynamics.device)
    return free is not None and saved_bytes(dynamics, num_envs, _WINDOW) > _LARGE * free


def task_maker(robot: type[RigidTask], load: Callable[..., RigidModel]) -> Callable[..., RigidTask]:
    """``make_task`` of a robot, with the options of the task, of its model and of the simulator.

    Args:
        robot: ``robot(dynamics, **options)``.
        load: ``load(**options) -> RigidModel``.

    Returns:
        A function whose signature lists every option with its default, as ``diffsim_core.make`` reads it.
    """
    build = functools.partial(simulate, substeps=robot.substeps, memory="auto")
    of_task, of_model = typed_parameters(robot)[1:], typed_parameters(load)
    of_simulator = [p for p in typed_parameters(build) if p.name not in _GIVEN]

    def make_task(*, num_envs: int, device: str, dtype: str, **options: Any) -> RigidTask:
        task, model, simulator = (
            {p.name: options[p.name] for p in kind if p.name in options} for kind in (of_task, of_model, of_simulator)
        )
        choice = simulator.pop("memory", "auto")
        first = robot.memory if choice == "auto" else choice
        make_it = functools.partial(build, load(**model), device=device, dtype=dtype, **simulator)
        dynamics = make_it(memory=first)
        if choice == "auto" and first == "fast" and _is_large(dynamics, num_envs):
            dynamics = make_it(memory="low")
        return robot(dynamics, **task)

    given = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("num_envs", "device", "dtype")]
    signature = inspect.Signature([*given, *of_task, *of_model, *of_simulator])
    make_task.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return make_task


def bundled_task(robot: type[RigidTask]) -> Callable[..., RigidTask]:
    """``make_task`` of a robot whose model is bundled under the task's name."""
    return task_maker(robot, functools.partial(bundled_model, robot.name))
