"""The shared tensor/environment protocol: what passes between simulators, tasks, environments and algorithms.

State in, state out. All arrays of a program are torch tensors, or all are JAX arrays; worlds are the first axis.
Containers are ``NamedTuple`` s, which both libraries treat as trees of arrays, so ``import diffsim_core`` needs
neither. Every other module may import this one; it imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from diffsim_core._buffer import Buffer

Array = Any
"""A torch tensor or a JAX array."""
PyTree = Any
"""Arrays in (named) tuples and mappings."""
Policy = Callable[..., Any]
"""``policy(obs [N, no]) -> action [N, na]``, or ``-> (action, aux)`` with any tree of arrays ``aux``."""


class EnvState(NamedTuple):
    """Everything an environment needs to go on: there is no hidden state and no random-number object."""

    physics: PyTree
    """State of the simulator, for instance ``RigidState(q [N, nq], qd [N, nv])``."""
    task: PyTree
    """What the task remembers between steps (Ant: the last action); ``()`` if nothing."""
    t: Array
    """Control steps since the episode began, int32 ``[N]``."""
    episode: Array
    """Episode number of each world, int32 ``[N]``; with seed and world it names the random numbers."""
    seed: Array
    """Seed given to ``reset``, int64 scalar array."""
    constants: PyTree = ()
    """The simulator's constants in this episode, for instance ``ModelParameters(params [N, np])``; ``()`` if none. No
    step changes them, so every state of an episode refers to the same arrays."""


class Transition(NamedTuple):
    """What one control step led to."""

    reward: Array
    """``[N]``, r(s_t, a_t, s_{t+1}); carries the gradient of the episode it belongs to."""
    terminated: Array
    """``[N]`` bool: the MDP ended here, nothing follows."""
    truncated: Array
    """``[N]`` bool: we stopped it (time limit or divergence); bootstrap with V(final_obs)."""
    final_obs: PyTree
    """``[N, no]`` observation this step led to, before any reset: for value targets, always."""
    obs: PyTree
    """``[N, no]`` what the policy sees next; where done, the first observation of a new episode
    (no gradient flows through it to the episode that ended)."""
    diverged: Array
    """``[N]`` bool: the world left the finite range in this step; its gradient is masked, it is
    reset and counted."""
    metrics: Mapping[str, Array]
    """Task-specific numbers, each ``[N]``."""
    valid: Array | None = None
    """``[N]`` bool: there is something to learn from this step. False where a world left the finite range, and where
    no step was taken: reward and ``final_obs`` then mean nothing. None stands for ``~diverged``."""


Between = Callable[[Any, EnvState, PyTree], tuple[EnvState, PyTree]]
"""``between(t, state, obs) -> (state, obs)``: called before step ``t`` of a rollout; a traced integer in JAX."""


class Diverged(NamedTuple):
    """What led each world to its first divergence within a window: enough to see it happen again.

    Every field has one entry for each world; those of worlds that did not diverge mean nothing.
    """

    step: Array
    """Step of the window at which the world diverged, int32 ``[N]``; -1 where it did not."""
    state: EnvState
    """State before that step (``seed`` is a scalar)."""
    action: Array
    """``[N, na]`` action of that step."""


class Trajectory(NamedTuple):
    """A window of ``T`` steps of ``N`` worlds, time first."""

    obs: PyTree
    """``[T, N, no]`` what the policy saw."""
    action: Array
    """``[T, N, na]`` as the policy gave it."""
    reward: Array
    """``[T, N]``"""
    terminated: Array
    """``[T, N]`` bool: the MDP ended with this step."""
    truncated: Array
    """``[T, N]`` bool: stopped by us; bootstrap with V(final_obs)."""
    done: Array
    """``[T, N]`` bool: terminated or truncated; the next row belongs to a new episode."""
    final_obs: PyTree
    """``[T, N, no]`` what the step led to, before any reset."""
    diverged: Array
    """``[T, N]`` bool: left the finite range in this step."""
    metrics: Mapping[str, Array]
    """Task-specific numbers, each ``[T, N]``."""
    divergences: Diverged
    """For ``collect_divergences``, which makes records that can be saved and replayed."""
    valid: Array
    """``[T, N]`` bool: there is something to learn from this step, see ``Transition.valid``."""
    aux: PyTree = ()
    """What the policy returned besides its actions, each array ``[T, ...]``; ``()`` if nothing."""


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """What an environment looks like from outside."""

    name: str
    num_obs: int
    """Length of one observation vector; of a mapping of arrays, how many numbers they hold together."""
    num_actions: int
    """Length of one action vector; actions lie in [-1, 1]."""
    dt: float
    """Duration of one control step [s]."""
    horizon: int
    """Control steps after which an episode is truncated."""
    differentiable: bool
    """Whether gradients flow from rewards and observations to actions."""
    obs_names: tuple[str, ...] = ()
    """A name with unit for each observation entry, or empty."""
    action_names: tuple[str, ...] = ()
    """A name for each action entry, or empty."""
    control_range: tuple[tuple[float, float], ...] = ()
    """What actions of -1 and 1 stand for, for each action entry, in the units of the simulator's controls; it is linear
    in between. Empty where the environment does not say."""
    units: Mapping[str, str] = field(default_factory=dict)
    obs_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Empty where an observation is one vector. Where it is a mapping, the shape per world of each of its arrays:
    ``(k,)`` for a vector, ``(P, 3)`` for the coordinates of ``P`` points."""


@runtime_checkable
class Env(Protocol):
    """A batch of independent worlds. The only thing an algorithm sees of a simulator."""

    spec: EnvSpec
    num_envs: int

    def reset(self, seed: int) -> tuple[EnvState, PyTree]:
        """First state and observation ``[N, no]`` of every world, named by ``seed``."""
        ...

    def step(self, state: EnvState, action: Array) -> tuple[EnvState, Transition]:
        """One control step with ``action [N, na]`` in [-1, 1], and the reset of worlds that are done."""
        ...


@dataclass(frozen=True)
class ArraySpec:
    """Name and shape per world of one array of a simulator's state, controls or constants."""

    name: str
    shape: tuple[int, ...]


class Dynamics(Protocol):
    """What a simulator writes: one control step and its vector-Jacobian product, on device buffers.

    ``step`` and ``vjp`` only enqueue work on ``device`` and never allocate. A world whose step leaves
    the finite range is *contained*: ``ok`` becomes 0, its output repeats its input state, and its
    cotangents come out exactly zero.

    A simulator may have *constants*: arrays for each world that enter a step and get cotangents, and that no step
    changes, such as masses and friction coefficients. It then has ``constant_spec``, with an entry for each of them,
    and ``constant_type``, a NamedTuple class with a field for each entry. ``step`` and ``vjp`` find them after the
    controls.
    """

    device: str
    dtype: str
    """``"float32"`` or ``"float64"``."""
    dt: float
    """Duration of one control step [s]."""
    state_type: type
    """NamedTuple class of the state, one field for each entry of ``state_spec``."""
    state_spec: tuple[ArraySpec, ...]
    control_spec: tuple[ArraySpec, ...]

    def saved_size(self, num_worlds: int) -> int:
        """Numbers (of ``dtype``) that the backward pass wants kept for one control step."""
        ...

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        """Write the next state to ``out`` and 1/0 to ``ok`` (int32 ``[N]``); fill ``saved`` if given.

        ``control`` holds the controls, and after them the constants.
        """
        ...

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        """Write cotangents of ``(*state, *control)`` to ``in_cotangent``, from those of the next state.

        ``control`` holds the controls, and after them the constants; cotangents of constants are those of this step
        alone.
        """
        ...


def out_spec(dynamics: Dynamics) -> tuple[ArraySpec, ...]:
    """What a simulator writes: a state, unless it has an ``out_spec`` of its own (sensors do)."""
    return getattr(dynamics, "out_spec", dynamics.state_spec)


def constant_spec(dynamics: Dynamics) -> tuple[ArraySpec, ...]:
    """Arrays that enter a simulator's steps and that no step changes; most have none."""
    return getattr(dynamics, "constant_spec", ())


def check_count(dynamics: Dynamics, state: Sequence[Any], control: Sequence[Any], constants: Sequence[Any]) -> None:
    """Raise ``ValueError`` unless as many arrays were given as the dynamics has."""
    for name, given, spec in (
        ("state", state, dynamics.state_spec),
        ("control", control, dynamics.control_spec),
        ("constants", constants, constant_spec(dynamics)),
    ):
        if len(given) != len(spec):
            names = ", ".join(entry.name for entry in spec)
            raise ValueError(f"{name} needs {len(spec)} arrays ({names}), got {len(given)}")


class Random(Protocol):
    """The random numbers of one episode in each of ``N`` worlds, as a task draws them.

    Streams are numbered by the task. Equal (seed, world, episode, stream, entry) give equal numbers, in torch and in
    JAX, whatever ``N`` is. Different streams are independent, and ``uniform`` and ``normal`` of one stream are too.
    """

    num_envs: int
    """Number of worlds N."""

    def uniform(self, stream: int, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0) -> Array:
        """``[N, *shape]`` numbers uniform in ``[low, high)``."""
        ...

    def normal(self, stream: int, shape: tuple[int, ...] = ()) -> Array:
        """``[N, *shape]`` standard normal numbers."""
        ...

    def constant(self, value: Any) -> Array:
        """``value`` (numbers of shape ``[*shape]``) repeated for every world, ``[N, *shape]``."""
        ...


class TaskError(ValueError):
    """What a function of a task returned does not fit. The message has the task, the function, and what to do."""


class Task(Protocol):
    """What a user writes: array-API code that serves torch and JAX from one source.

    ``xp`` is the array namespace (array-api-compat) of the arrays handed in.

    A task on a simulator that has constants also has ``constants(xp, random)``: those of a new episode in every world,
    one array for each entry of ``dynamics.constant_spec``. Where they are the same in every episode, it sets
    ``constants_vary = False``: a reset then leaves them as they are.

    A task may have ``markers(xp, physics, task)``: places ``[N, 3]`` [m] by name, such as a goal, which viewers draw as
    balls (:class:`diffsim_core.viewer.Marker` with a radius and a colour).
    """

    name: str
    dynamics: Dynamics
    horizon: int
    num_obs: int
    num_actions: int

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """``(physics, task)`` of a new episode in every world."""
        ...

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """The simulator's controls, one array for each entry of ``dynamics.control_spec``."""
        ...

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """What the task remembers after this action."""
        ...

    def observe(self, xp: Any, physics: PyTree, task: PyTree) -> PyTree:
        """Observation ``[N, no]`` of a state, or a mapping of arrays ``[N, ...]`` of the shapes in ``obs_shapes``."""
        ...

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: PyTree, task: PyTree
    ) -> Array:
        """``[N]``; ``next_obs`` is handed in because most rewards read what was just computed for it,
        and ``task`` is the task state after the step."""
        ...

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """``[N]`` bool: the episode ended in this state."""
        ...
