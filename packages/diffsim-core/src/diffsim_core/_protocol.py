"""The shared tensor/environment protocol: what passes between simulators, tasks, environments and algorithms.

State in, state out. Every array is a torch tensor or a JAX array of one framework; worlds are
the first axis. Containers are ``NamedTuple`` s, which both frameworks already treat as pytrees, so
``import diffsim_core`` needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from diffsim_core._buffer import Buffer
    from diffsim_core._random import Random

Array = Any
"""A torch tensor or a JAX array."""
PyTree = Any
"""Arrays in (named) tuples and mappings."""


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
    """Task-specific figures, each ``[N]``."""


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
    """Name and shape per world of one array of a simulator's state or control."""

    name: str
    shape: tuple[int, ...]


class Dynamics(Protocol):
    """What a simulator writes: one control step and its vector-Jacobian product, on device buffers.

    ``step`` and ``vjp`` only enqueue work on ``device`` and never allocate. A world whose step leaves
    the finite range is *contained*: ``ok`` becomes 0, its output repeats its input state, and its
    cotangents come out exactly zero.
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
        """Write the next state to ``out`` and 1/0 to ``ok`` (int32 ``[N]``); fill ``saved`` if given."""
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
        """Write cotangents of ``(*state, *control)`` to ``in_cotangent``, from those of the next state."""
        ...


class Task(Protocol):
    """What a user writes: array-API code that serves torch and JAX from one source.

    ``xp`` is the array namespace (array-api-compat) of the arrays handed in.
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
