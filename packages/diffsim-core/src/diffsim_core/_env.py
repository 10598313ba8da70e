"""``TaskEnv``: a task and a simulator as an environment. The one step and auto-reset of the whole library."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from diffsim_core._interop import backend, backend_of, differentiable
from diffsim_core._protocol import Array, EnvSpec, EnvState, PyTree, Task, Transition, constant_spec
from diffsim_core._random import EpisodeRandom, seed_array
from diffsim_core._remade import Remade
from diffsim_core._returned import Returned, check_task_type
from diffsim_core._separate import tell_separate
from diffsim_core._tree import tree_map


class Moved(NamedTuple):
    """What a step led to, before any episode ends; every field has a row for each world."""

    after: EnvState
    obs: PyTree
    """Of ``after``."""
    reward: Array
    """``[N]``"""
    terminated: Array
    """``[N]`` bool, as the task says."""
    ok: Array
    """``[N]`` bool: within the finite range."""
    metrics: Mapping[str, Array]


def _pass(function: str, value: Any, *given: Any) -> None:
    """No check, of worlds that are others than the environment's."""


class TaskEnv(Remade):
    """``num_envs`` independent worlds of one task, on torch tensors or JAX arrays.

    A step clips the action to [-1, 1], moves the physics, rewards it, and gives worlds that are done
    a new episode, so that the state returned can always be stepped. Gradients of ``reward`` and
    ``final_obs`` reach the episode that ended; none passes through a reset. A world whose physics left the
    finite range counts as diverged: its reward is 0, it is truncated, not terminated, its
    ``final_obs`` is that of the state before the step (entries that are not finite read 0), and it is reset.

    A task may also have ``metrics(xp, physics, action, next_physics, next_obs, task) -> Mapping`` of ``[N]``
    arrays, and ``obs_names``, ``action_names``, ``control_range``, ``units`` and ``obs_shapes``, which end up in
    ``spec``. With
    ``obs_shapes`` its observations are a mapping of arrays, and ``[N, no]`` below stands for them.

    Args:
        task: what is simulated, observed and rewarded; ``task.dynamics`` lives on ``device`` with ``dtype``.
        num_envs: number of worlds N.
        arrays: ``"torch"`` or ``"jax"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.
        dtype: ``"float32"`` or ``"float64"``.
        world_offset: number of the first world; random numbers follow the world's number, so two
            environments of 32 worlds at offsets 0 and 32 equal one of 64.
        fused: take each step, simulator and task together, as one operation of torch's autograd: the task's
            functions are traced in the first step, differentiated and compiled. Where that cannot be, a warning says
            why, and steps are taken as without it. Results agree up to rounding.

    Raises:
        ValueError: if an argument does not fit the task's dynamics, or the task lacks an attribute or a function.
        ImportError: if the array library is not installed.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        *,
        arrays: str,
        device: str = "cpu",
        dtype: str = "float32",
        world_offset: int = 0,
        fused: bool = False,
    ) -> None:
        if not isinstance(num_envs, numbers.Integral) or num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if world_offset < 0:
            raise ValueError(f"world_offset must not be negative, got {world_offset}")
        check_task_type(task)
        dynamics = task.dynamics
        for name, given, has in (("device", device, dynamics.device), ("dtype", dtype, dynamics.dtype)):
            if given != has:
                raise ValueError(f"{name}={given!r}, but the dynamics of task {task.name!r} was made for {has!r}")
        self.task = task
        self.num_envs: int = int(num_envs)
        self.arrays = arrays
        self.device = device
        self.dtype = dtype
        self.world_offset = world_offset
        self._backend = library = backend(arrays)
        self.xp: Any = library.xp
        if dtype == "float64" and not library.has_int64():
            raise ValueError("dtype='float64' with JAX needs jax.config.update('jax_enable_x64', True)")
        self._array_device = library.device(device)
        self.dynamics_step = differentiable(dynamics)
        """``(physics, control, constants) -> (next_physics, ok)``, the simulator without task and resets."""
        self.constants_vary = bool(constant_spec(dynamics)) and bool(getattr(task, "constants_vary", True))
        """Whether the simulator's constants differ from episode to episode."""
        self.spec = EnvSpec(
            name=task.name,
            num_obs=task.num_obs,
            num_actions=task.num_actions,
            dt=dynamics.dt,
            horizon=task.horizon,
            differentiable=True,
            obs_names=tuple(getattr(task, "obs_names", ())),
            action_names=tuple(getattr(task, "action_names", ())),
            control_range=tuple((float(low), float(high)) for low, high in getattr(task, "control_range", ())),
            units=dict(getattr(task, "units", {})),
            obs_shapes={name: tuple(shape) for name, shape in getattr(task, "obs_shapes", {}).items()},
        )
        self._returned = Returned(task, self.spec, num_envs, library, getattr(self.xp, dtype))
        self._fused = self._fuse() if fused else None
        # Whether to look before resetting: skips most of the work, but on CUDA would wait for the device.
        self._look = library.can_read(device)

    def reset(self, seed: int) -> tuple[EnvState, PyTree]:
        """First state and observation ``[N, no]`` of every world; equal seeds give equal bits.

        In JAX the seed may be traced (``jit``, ``vmap`` over seeds); its range is then not checked.

        Raises:
            ValueError: if the seed is negative or too large.
            TaskError: if what the task returns does not fit its dynamics.
        """
        xp = self.xp
        seed_ = seed_array(self._backend, seed, self._array_device)
        episode = xp.zeros((self.num_envs,), dtype=xp.int32, device=self._array_device)
        physics, task, obs = self._backend.no_grad(lambda: self._start(seed_, episode))
        constants = self._backend.no_grad(lambda: self._constants(seed_, episode))
        return EnvState(physics, task, xp.zeros_like(episode), episode, seed_, constants), obs

    def step(self, state: EnvState, action: Array) -> tuple[EnvState, Transition]:
        """One control step with ``action [N, na]`` in [-1, 1] (clipped), and the reset of worlds that are done.

        Raises:
            ValueError: if the action or the state has a wrong shape, dtype or device.
            TaskError: in the first step, if what a function of the task returns has.
        """
        self._check_action(action)
        if self._fused is not None:
            taken = self._fused.step(state, action)
            if taken is not None:
                return taken
        return self._step(state, action)

    @property
    def fused(self) -> bool:
        """Whether steps are one operation each; what was asked for, until the first step has shown if it can be."""
        return self._fused is not None and self._fused.works

    def recording(self) -> Any:
        """For one roll-out without graph, whose steps are kept to be pulled back through by hand.

        None where steps are separate operations, and on CUDA. See ``diffsim_core._traced.Recording``.
        """
        if self._fused is None or not self._fused.works or self.device != "cpu":
            return None
        from diffsim_core._traced import Recording

        return Recording(self, self._fused)

    def _fuse(self) -> Any:
        if self.arrays != "torch":
            tell_separate(self.task, f"only torch has them in one, not arrays={self.arrays!r}")
            return None
        from diffsim_core._traced import FusedStep

        return FusedStep(self)

    def _step(self, state: EnvState, action: Array) -> tuple[EnvState, Transition]:
        """A step of separate operations of the array library."""
        return self.renew(self.move(state, action))

    def move(self, state: EnvState, action: Array) -> Moved:
        """A step up to where an episode may end, of any number of worlds: what wrappers of an environment build on.

        ``state.task`` and the arrays of ``state`` have as many rows as ``action``.

        Raises:
            TaskError: in the first step, if what a function of the task returns does not fit.
        """
        xp, task, library = self.xp, self.task, self._backend
        check = self._returned.check if action.shape[0] == self.num_envs else _pass
        action = self._clip(action)
        control = task.control(xp, action)
        check("control", control)
        physics, ok = self.dynamics_step(state.physics, tuple(map(library.contiguous, control)), state.constants)
        memory = task.advance(xp, action, state.task)
        check("advance", memory, state.task)
        obs = self.observe(physics, memory)
        reward = task.reward(xp, state.physics, action, physics, obs, memory)
        check("reward", reward)
        metrics = self._metrics(state.physics, action, physics, obs, memory, check)
        terminated = task.terminated(xp, physics, memory)
        check("terminated", terminated)
        after = EnvState(physics, memory, state.t + 1, state.episode, state.seed, state.constants)
        return Moved(after, obs, reward, terminated, ok, metrics)

    def renew(self, moved: Moved) -> tuple[EnvState, Transition]:
        """What a step led to, with new episodes where one ended."""
        after, obs, reward, terminated, ok, metrics = moved
        diverged = ~ok
        terminated = terminated & ok
        truncated = ((after.t >= self.task.horizon) & ~terminated) | diverged
        done = terminated | truncated
        if self._look and not bool(done.any()):
            return after, Transition(reward, terminated, truncated, obs, obs, diverged, metrics)
        return self._reset_done(after, reward, terminated, truncated, done, diverged, obs, metrics)

    def _reset_done(
        self,
        after: EnvState,
        reward: Array,
        terminated: Array,
        truncated: Array,
        done: Array,
        diverged: Array,
        obs: PyTree,
        metrics: Mapping[str, Array],
    ) -> tuple[EnvState, Transition]:
        xp = self.xp
        zero = xp.zeros_like(reward)
        reward = xp.where(diverged, zero, reward)
        metrics = {name: xp.where(diverged, zero, value) for name, value in metrics.items()}

        # A state or action that was not finite to begin with may have reached the observation.
        def finite(leaf: Array) -> Array:
            bad = xp.reshape(diverged, (-1,) + (1,) * (leaf.ndim - 1)) & ~xp.isfinite(leaf)
            return xp.where(bad, xp.zeros_like(leaf), leaf)

        final_obs = tree_map(finite, obs)

        episode = after.episode + xp.astype(done, after.episode.dtype)
        new_physics, new_memory, new_obs = self._backend.no_grad(lambda: self._start(after.seed, episode))

        def select(new: Array, old: Array) -> Array:
            return self._select(done, new, old)

        state = EnvState(
            physics=tree_map(select, new_physics, after.physics),
            task=tree_map(select, new_memory, after.task),
            t=xp.where(done, xp.zeros_like(after.t), after.t),
            episode=episode,
            seed=after.seed,
            constants=self._renewed_constants(after, episode, done),
        )
        next_obs = tree_map(select, new_obs, final_obs)
        return state, Transition(reward, terminated, truncated, final_obs, next_obs, diverged, metrics)

    def _renewed_constants(self, state: EnvState, episode: Array, done: Array) -> PyTree:
        """The simulator's constants after a step: new ones where an episode ended, if they differ between episodes."""
        if not self.constants_vary:
            return state.constants
        new = self._backend.no_grad(lambda: self._constants(state.seed, episode))
        return tree_map(lambda one, other: self._select(done, one, other), new, state.constants)

    def _select(self, done: Array, new: Array, old: Array) -> Array:
        return self.xp.where(self.xp.reshape(done, (-1,) + (1,) * (old.ndim - 1)), new, old)

    def _start(self, seed: Array, episode: Array) -> tuple[PyTree, PyTree, PyTree]:
        """Physics, task state and observation at the start of the given episodes."""
        initial = self.task.initial(self.xp, self._random(seed, episode))
        self._returned.check("initial", initial)
        physics = self.task.dynamics.state_type(*map(self._backend.contiguous, initial[0]))
        return physics, initial[1], self.observe(physics, initial[1])

    def observe(self, physics: PyTree, memory: PyTree) -> PyTree:
        """The observation, which its reader may change in place: the state does not lie in its memory."""
        obs = self.task.observe(self.xp, physics, memory)
        if physics[0].shape[0] == self.num_envs:
            self._returned.check("observe", obs)
        return self._backend.apart(obs, (physics, memory))

    def _constants(self, seed: Array, episode: Array) -> PyTree:
        """The simulator's constants in the given episodes."""
        dynamics: Any = self.task.dynamics
        if not constant_spec(dynamics):
            return ()
        task: Any = self.task
        drawn = task.constants(self.xp, self._random(seed, episode))
        self._returned.check("constants", drawn)
        return dynamics.constant_type(*map(self._backend.contiguous, drawn))

    def _random(self, seed: Array, episode: Array) -> EpisodeRandom:
        return EpisodeRandom(seed, episode, dtype=self.dtype, device=self.device, world_offset=self.world_offset)

    def _clip(self, action: Array) -> Array:
        return self._backend.clip_unit(action)

    def _metrics(
        self,
        physics: PyTree,
        action: Array,
        next_physics: PyTree,
        obs: PyTree,
        memory: PyTree,
        check: Callable[..., None],
    ) -> Mapping[str, Array]:
        function = getattr(self.task, "metrics", None)
        if function is None:
            return {}
        metrics = function(self.xp, physics, action, next_physics, obs, memory)
        check("metrics", metrics)
        return metrics

    def _check_action(self, action: Array) -> None:
        shape = (self.num_envs, self.spec.num_actions)
        if tuple(action.shape) != shape:
            raise ValueError(f"action has shape {tuple(action.shape)}, expected {shape}: one row for each world")
        if (given := backend_of(action)) is not self._backend:
            raise TypeError(f"action is a {given.name} array, but the environment was made for {self.arrays}")
