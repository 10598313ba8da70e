"""``FromGymnasium``: Gymnasium's environments as our worlds, for algorithms without simulator gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import gymnasium
import numpy as np
from annotated_types import Unit, doc
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from diffsim_core._interop import backend, backend_of, to_numpy
from diffsim_core._protocol import Array, EnvState, Transition
from diffsim_core._random import seed_array
from diffsim_core.adapters._guest_spaces import actions_of, maker, spec_of
from diffsim_core.adapters._guests import Guests, Numbers, Reached, Singles, guests_of
from diffsim_core.adapters._workers import Workers
from diffsim_core.options import Count, Options, options_of

_FROM_MAKE = ("env", "num_envs", "arrays", "device", "dtype", "world_offset", "name")
_ARRAYS = "torch"
"""The only library whose arrays always hold numbers that a guest can be given."""
_MODES: dict[str, Callable[..., VectorEnv[Any, Any, Any]]] = {"sync": SyncVectorEnv, "async": Workers}


Limit = Annotated[Count | None, Unit("steps"), doc("Time limit; none for the environment's own.")]
Mode = Annotated[Literal["sync", "async"], doc("Step the worlds in this process, or each in a process of its own.")]


class GuestState(NamedTuple):
    """The known part of a guest's state: its last observation."""

    obs: Array
    """``[N, no]``"""


class FromGymnasium:
    """Worlds of Gymnasium as an ``Env`` of torch tensors, without gradients.

    Actions in [-1, 1] (clipped) are mapped onto the bounds of the guest, the Gymnasium environment. Observations of
    several parts are flattened (``gymnasium.spaces.flatten``). Seed, world and episode together seed each episode, so a
    world does not depend on the number of worlds. A world whose action, observation or reward is not finite counts as
    diverged: its reward is 0, it is truncated, ``final_obs`` is the observation before the step, and a new episode
    begins.

    **Limits of "state in, state out".** The guest keeps the simulator's state; ``EnvState`` holds only its last
    observation. So a state can be stepped once, right after it was returned. Any other state, for instance one loaded
    from a file, begins anew. Where ``t`` is 0, that is the same episode, because its seed is known. Elsewhere no step
    is taken: the episode is truncated with its last observation, and the next episode begins. ``Transition.valid`` is
    false for such a step, which earns 0, so that nothing is learned from it. A resumed
    run is therefore reproducible, but differs from an uninterrupted one, unless all episodes ended at that point.
    Divergences are recorded but cannot be replayed.

    **Vector environments** keep their autoreset mode. One with ``DISABLED`` is reset by us, as single environments are.
    The others reset their worlds themselves, which has consequences:

    - With ``NEXT_STEP`` the first observation of an episode comes one step after the end of the last one. That step of
      the world takes no action and earns 0. ``Transition.valid`` is false for it, so nothing is learned from it, and no
      episode is counted.
    - One seed names all worlds, and all their episodes follow from it. A state that is not the last one begins anew in
      all worlds.
    - A world that diverges is not reset: its next episode begins in whatever state the guest is then.
    - The time limit is the guest's own.

    Args:
        env: the id of a registered environment (``"Hopper-v5"``, ``"module:Id-v0"``), or a function that makes one. The
            function may also make a vector environment of ``num_envs`` worlds.
        num_envs: number of worlds N.
        arrays: ``"torch"``; JAX cannot trace a guest.
        device: device of the tensors: ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.
        dtype: dtype of observations and rewards, ``"float32"`` or ``"float64"``.
        world_offset: number of the first world.
        max_episode_steps: time limit in control steps; default: that of the environment. For a vector environment that
            resets its worlds itself, the number of steps after which it stops an episode.
        vectorization_mode: ``"sync"`` steps the worlds one after another in this process. ``"async"`` steps each in its
            own process, which imports your script: protect its code with ``if __name__ == "__main__"``. A vector
            environment steps its worlds as it likes.
        name: name of the environment; default: its id.
        options: keyword arguments of the environment, if ``env`` is an id.

    Raises:
        ValueError: the environment or an option does not exist, its actions are not a box with finite bounds, its
            observations are images or no fixed list of numbers, or it has no time limit; a vector environment has
            another number of worlds or no autoreset mode.
    """

    def __init__(
        self,
        env: str | Callable[[], gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]],
        num_envs: int = 1,
        *,
        arrays: str = "torch",
        device: str = "cpu",
        dtype: str = "float32",
        world_offset: int = 0,
        max_episode_steps: Limit = None,
        vectorization_mode: Mode = "sync",
        name: str | None = None,
        **options: Any,
    ) -> None:
        for what, value, least in (("num_envs", num_envs, 1), ("world_offset", world_offset, 0)):
            if value < least:
                raise ValueError(f"{what} must be at least {least}, got {value}")
        if arrays != _ARRAYS:
            raise ValueError(f"arrays={arrays!r}: an environment of Gymnasium cannot be traced; use arrays={_ARRAYS!r}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        if vectorization_mode not in _MODES:
            raise ValueError(f"vectorization_mode is {vectorization_mode!r}; use one of {', '.join(_MODES)}")
        if options and not isinstance(env, str):
            raise ValueError(
                f"options {', '.join(options)} need an environment given by its id; bind them in the function env"
            )
        made = maker(env, max_episode_steps, options)
        self.num_envs = num_envs
        self.world_offset = world_offset
        self.arrays, self.device, self.dtype = arrays, device, dtype
        self._backend = backend(_ARRAYS)
        self._array_device = self._backend.device(device)
        one = made()
        self.spec = spec_of(one, name or (env if isinstance(env, str) else None), max_episode_steps)
        actions = actions_of(one, self.spec.name)
        self._action_shape, self._action_dtype = actions.shape, actions.dtype
        low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (actions.low, actions.high))
        self._low, self._high = low, high
        self._middle, self._half = (high + low) / 2, (high - low) / 2
        self.world_processes = vectorization_mode == "async"
        """Whether each world is a process of its own, so that nobody makes more worlds than were asked for."""
        self._guests: Guests
        if isinstance(one, VectorEnv):
            self._guests = guests_of(one, self.spec.name)
            if one.num_envs != num_envs:
                raise ValueError(
                    f"environment {self.spec.name!r} is a vector of {one.num_envs} worlds, but num_envs is {num_envs}; "
                    "make them equal"
                )
        else:
            one.close()
            worlds = _MODES[vectorization_mode]([made] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
            self._guests = Singles(worlds)
        self._present: _Present | None = None
        self._seen: Any = None
        """First observations after a vector environment had to begin anew."""

    @classmethod
    def options(cls, env: str) -> Options:
        """The options of ``make("gym:ID")``: those of this class and those of the environment ``env``, an id.

        Raises:
            ValueError: there is no such environment.
        """
        own = options_of(cls, f"environment {env!r}", leave_out=_FROM_MAKE)
        module, _, name = env.rpartition(":")
        try:
            if module:
                importlib.import_module(module)  # which registers the environment
            guest = gymnasium.spec(name)
            creator = guest.entry_point if callable(guest.entry_point) else load_env_creator(str(guest.entry_point))
        except (gymnasium.error.Error, ImportError, AttributeError) as error:
            raise ValueError(f"environment {env!r} cannot be made: {error}") from None
        theirs = options_of(creator, own.owner, leave_out=())
        known = {name: replace(one, default=guest.kwargs.get(name, one.default)) for name, one in theirs.known.items()}
        return Options(owner=own.owner, known={**known, **own.known}, open=theirs.open)

    def reset(self, seed: int) -> tuple[EnvState, Array]:
        """First state and observation ``[N, no]`` of every world; equal seeds give equal bits where the guest does.

        Raises:
            ValueError: the seed is negative or too large, or a first observation is not finite.
        """
        n = self.num_envs
        seed_ = seed_array(self._backend, seed, self._array_device)
        zero = np.zeros(n, dtype=np.int32)
        obs = self._begin(seed, zero, np.ones(n, dtype=bool))
        if not np.isfinite(obs).all():
            raise ValueError(f"first observations of environment {self.spec.name!r} are not finite; check its reset")
        return self._state(_Present(seed, zero, zero, obs), seed_)

    def step(self, state: EnvState, action: Array) -> tuple[EnvState, Transition]:
        """One control step with ``action [N, na]`` in [-1, 1] (clipped), and new episodes where worlds are done.

        Raises:
            ValueError: the action has the wrong shape, or a vector environment did not stop an episode at the time
                limit.
            TypeError: the action is not a torch tensor.
        """
        self._check_action(action)
        now = _Present.of(state)
        lost = self._synchronise(now)
        wanted = np.clip(to_numpy(action).astype(np.float64), -1.0, 1.0)
        bad_action = np.asarray(~np.isfinite(wanted).all(axis=1))
        reached = self._step_guests(now, lost, np.where(bad_action[:, None], 0.0, wanted))
        obs, reward = reached.obs.astype(self.dtype), reached.reward.astype(self.dtype)
        untaken = lost | ~reached.taken
        diverged = (bad_action | ~np.isfinite(obs).all(axis=1) | ~np.isfinite(reward)) & ~untaken
        invalid: Numbers = diverged | untaken

        t = now.t + 1
        terminated = reached.terminal & ~invalid
        truncated = (self._stopped(t, reached) & ~terminated) | invalid
        done: Numbers = terminated | truncated
        reward[invalid] = 0.0
        final_obs = np.where(invalid[:, None], now.obs, obs)
        # A step that only begins an episode ends none.
        episode = (now.episode + (done & (lost | reached.taken))).astype(np.int32)
        next_obs = final_obs
        if done.any():
            first_obs = reached.seen if self._guests.own_resets else self._begin(now.seed, episode, done)
            first_obs = np.nan_to_num(first_obs.astype(self.dtype), posinf=0.0, neginf=0.0)
            next_obs = np.where(done[:, None], first_obs, final_obs)
        after, obs_ = self._state(_Present(now.seed, np.where(done, 0, t), episode, next_obs), state.seed)
        return after, Transition(
            reward=self._array(reward),
            terminated=self._array(terminated),
            truncated=self._array(truncated),
            final_obs=self._array(final_obs),
            obs=obs_,
            diverged=self._array(diverged),
            metrics={},
            valid=self._array(~invalid),
        )

    def close(self) -> None:
        """Close the guests and end their processes, if they have any."""
        self._guests.worlds.close()

    def _synchronise(self, now: _Present) -> Numbers:
        """Bring every guest to the state ``now``; returns ``[N]`` bool, the worlds in which that is impossible."""
        every = np.ones(self.num_envs, dtype=bool)
        different = every if self._present is None else now.differs(self._present)
        if self._guests.own_resets:
            if not different.any():
                return different
            lost = every & bool((now.t > 0).any() or (now.episode > 0).any())
            self._seen = self._begin(now.seed, now.episode + lost, every)
            return lost
        if (first := different & (now.t == 0)).any() or self._present is None:
            self._begin(now.seed, now.episode, every if self._present is None else first)
        return different & (now.t > 0)

    def _step_guests(self, now: _Present, lost: Numbers, given: Numbers) -> Reached:
        if self._guests.own_resets and lost.all():  # they have just begun, and none can be kept back
            nothing, never = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=bool)
            return Reached(now.obs, nothing, never, never, never, self._seen)
        return self._guests.step(self._mapped(given))

    def _stopped(self, t: Numbers, reached: Reached) -> Numbers:
        """``[N]`` bool, where the time limit is reached after ``t`` steps."""
        late = t >= self.spec.horizon
        if self._guests.own_resets and (late := late & ~(reached.terminal | reached.time_limit)).any():
            raise ValueError(
                f"world {int(np.flatnonzero(late)[0])} of {self.spec.name!r} goes on after {self.spec.horizon} steps, "
                "but a vector environment stops its episodes itself: give its own limit as max_episode_steps"
            )
        return reached.time_limit | late

    def _begin(self, seed: int, episode: Numbers, where: Numbers) -> Numbers:
        """Begin the given episodes in the worlds ``where``; returns the observations of all worlds."""
        seeds = [episode_seed(seed, self.world_offset + k, int(episode[k])) for k in range(self.num_envs)]
        return self._guests.begin(seeds, where).astype(self.dtype)

    def _mapped(self, action: Numbers) -> Numbers:
        mapped = np.clip(self._middle + self._half * action, self._low, self._high)
        return mapped.reshape(self.num_envs, *self._action_shape).astype(self._action_dtype)

    def _state(self, present: _Present, seed: Array) -> tuple[EnvState, Array]:
        self._present = present
        t, episode, obs = map(self._array, (present.t.astype(np.int32), present.episode, present.obs))
        # The caller gets a copy: to change the observation of the state would be to ask for another state.
        return EnvState(GuestState(obs), (), t, episode, seed), self._array(present.obs)

    def _array(self, values: Numbers) -> Array:
        return self._backend.xp.asarray(values.copy(), device=self._array_device)

    def _check_action(self, action: Array) -> None:
        shape = (self.num_envs, self.spec.num_actions)
        if (given := backend_of(action)) is not self._backend:
            raise TypeError(f"action is a {given.name} array, but the environment gives torch tensors")
        if tuple(action.shape) != shape:
            raise ValueError(f"action has shape {tuple(action.shape)}, expected {shape}: one row for each world")


class _Present(NamedTuple):
    """Seed, counters and observations of the worlds, in host memory."""

    seed: int
    t: Numbers
    episode: Numbers
    obs: Numbers

    @classmethod
    def of(cls, state: EnvState) -> _Present:
        return cls(int(state.seed), to_numpy(state.t), to_numpy(state.episode), to_numpy(state.physics.obs))

    def differs(self, other: _Present) -> Numbers:
        """``[N]``"""
        same = (self.t == other.t) & (self.episode == other.episode) & (self.obs == other.obs).all(axis=1)
        return ~same if self.seed == other.seed else np.ones(len(self.t), dtype=bool)


def episode_seed(seed: int, world: int, episode: int) -> int:
    """Seed of a guest for one episode, below 2**31."""
    return int(np.random.SeedSequence((seed, world, episode)).generate_state(1)[0]) >> 1
