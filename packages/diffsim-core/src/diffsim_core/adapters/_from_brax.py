"""``FromBrax``: Brax's environments as ours, with gradients, for torch tensors and JAX arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from annotated_types import doc

from diffsim_core._interop import backend as library
from diffsim_core._interop import backend_of, to_numpy
from diffsim_core._jax_compiled import keep_compiled
from diffsim_core._protocol import Array, EnvSpec, EnvState, PyTree, Transition
from diffsim_core._random import seed_array
from diffsim_core._remade import Remade
from diffsim_core.adapters._brax_worlds import brax_options, brax_worlds, check_dtype, is_differentiable, worlds_of
from diffsim_core.adapters._jax_worlds import Names, Outcome, Packed, Worlds, precision
from diffsim_core.options import NUM_ENVS, WORLD_OFFSET, EpisodeLength, Options, options_of

_FROM_MAKE = ("env", "num_envs", "arrays", "device", "dtype", "world_offset", "name")

Simulator = Annotated[
    Literal["generalized", "spring", "positional", "mjx"] | None,
    doc("Brax's simulator; none for the environment's own choice. With mjx few have gradients."),
]


class PackedNumbers(NamedTuple):
    """``EnvState.physics`` of Brax's worlds."""

    numbers: Array
    """``[N, n]`` every real number of Brax's state."""


class PackedIntegers(NamedTuple):
    """``EnvState.task`` of Brax's worlds."""

    integers: Array
    """``[N, m]`` every integer, bool and random key of Brax's state; often none."""


class FromBrax(Remade):
    """Worlds of Brax as an ``Env``, on torch tensors or JAX arrays.

    Brax's own functions for one world, ``reset`` and ``step``, are batched and compiled here; none of its wrappers is
    used. A step clips the action to [-1, 1], and worlds that are done get a new episode, drawn from (seed, world,
    episode) alone. ``final_obs`` and ``reward`` carry the gradient of the episode that ended; none passes through a
    reset. A backward pass computes each step again, so that a window keeps states and actions alone. Metrics carry no
    gradient, and there are no second derivatives.

    A world whose next state, observation or reward is not finite counts as diverged: its reward is 0, it is truncated,
    ``final_obs`` is the observation before the step, and a new episode begins. No gradient passes through that step.
    Neither does one through a step whose own gradient is not finite in that world: other worlds keep theirs.

    ``EnvState`` has the whole state of Brax in two arrays, ``physics.numbers`` and ``task.integers``. ``unpack`` gives
    it as Brax knows it.

    With JAX arrays, calls are compiled, and may be inside ``jit``, ``grad`` and ``lax.scan``. In a ``vmap`` over
    batches of worlds, every step also computes a reset of every world.

    Args:
        env: the name of an environment of Brax (``"ant"``), or an object like ``brax.envs.Env``, without wrappers.
        num_envs: number of worlds N.
        arrays: ``"torch"`` or ``"jax"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:i"``; with torch tensors, both libraries need it.
        dtype: ``"float32"`` or ``"float64"``; with JAX arrays the latter needs ``jax_enable_x64``.
        world_offset: number of the first world; random numbers follow the world's number.
        backend: Brax's simulator, for a name: ``"generalized"``, ``"spring"``, ``"positional"`` or ``"mjx"``; default:
            the environment's own choice.
        episode_length: control steps after which an episode is truncated.
        name: name of the environment; default: ``brax:`` and its name.
        options: arguments of the environment's class, for a name.

    Raises:
        ValueError: the environment, its backend or an option does not exist or fit, it does not run with the installed
            JAX, or there is no such device.
    """

    def __init__(
        self,
        env: str | Any,
        num_envs: int = 1,
        *,
        arrays: str = "torch",
        device: str = "cpu",
        dtype: str = "float32",
        world_offset: int = 0,
        backend: Simulator = None,
        episode_length: EpisodeLength = 1000,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.num_envs: int = NUM_ENVS.convert(num_envs, "FromBrax")
        self.world_offset: int = WORLD_OFFSET.convert(world_offset, "FromBrax")
        check_dtype(dtype, arrays)
        self.arrays, self.device, self.dtype = arrays, device, dtype
        self._backend = library(arrays)
        self._array_device = self._backend.device(device)
        keep_compiled()
        label = name or (f"brax:{env}" if isinstance(env, str) else type(env).__name__)
        if isinstance(env, str):
            declared = type(self).options(env)
            given = declared.convert({"backend": backend, "episode_length": episode_length, **options})
            backend, episode_length = given.pop("backend"), given.pop("episode_length")
            with precision(dtype):
                self._worlds = brax_worlds(env, label, backend, dtype, given)
        elif options or backend is not None:
            wrong = ", ".join([*options, *(["backend"] if backend is not None else [])])
            raise ValueError(f"options {wrong} need an environment given by its name; make env with them")
        else:
            with precision(dtype):
                # ``FromPlayground`` hands over what it shares.
                self._worlds = env if isinstance(env, Worlds) else worlds_of(env, label, dtype)
        self.spec = _spec(self._worlds.env, self._worlds.example.obs, label, episode_length)
        self._numbers = np.arange(world_offset, world_offset + num_envs, dtype=np.int32)
        self._horizon = np.int32(episode_length)
        self._torch: Any = None
        if arrays == "torch":
            from diffsim_core.adapters._jax_torch import TorchWorlds

            self._torch = TorchWorlds(self._worlds, self.num_envs, self.spec.num_actions, device)

    @classmethod
    def options(cls, env: str) -> Options:
        """The options of ``make("brax:NAME")``: those of this class and those of the environment ``env``, a name.

        Raises:
            ValueError: there is no such environment.
        """
        return brax_options(env, options_of(cls, f"environment {env!r} of Brax", leave_out=_FROM_MAKE))

    def reset(self, seed: int) -> tuple[EnvState, PyTree]:
        """First state and observation ``[N, no]`` of every world; equal seeds give equal bits.

        In JAX the seed may be traced; its range is then not checked.

        Raises:
            ValueError: if the seed is negative or too large.
        """
        seed_ = seed_array(self._backend, seed, self._array_device)
        episode = self._backend.xp.zeros((self.num_envs,), dtype=self._backend.xp.int32, device=self._array_device)
        names = self._names(seed_)
        if self._torch is not None:
            packed, obs = self._torch.start(names, episode)
        else:
            packed, obs = self._worlds.compiled("start", names, episode)
        return self._state(packed, self._backend.xp.zeros_like(episode), episode, seed_), obs

    def step(self, state: EnvState, action: Array) -> tuple[EnvState, Transition]:
        """One control step with ``action [N, na]`` in [-1, 1] (clipped), and new episodes where worlds are done.

        Raises:
            ValueError: if the action or the state has a wrong shape, dtype or device.
            TypeError: if one of them is of the other array library.
        """
        names = self._names(state.seed)
        if self._torch is not None:
            out: Outcome = self._torch.step(state, names, action)
        else:
            self._check(action)
            out = self._worlds.compiled("step", _packed(state), state.t, state.episode, names, action)
        return self._state(out.packed, out.t, out.episode, state.seed), Transition(
            reward=out.reward,
            terminated=out.terminated,
            truncated=out.truncated,
            final_obs=out.final_obs,
            obs=out.obs,
            diverged=out.diverged,
            metrics=out.metrics,
        )

    def unpack(self, state: EnvState) -> Any:
        """The state as Brax knows it, a tree of JAX arrays ``[N, ...]``: ``env.unpack(state).pipeline_state.q``.

        Of torch tensors it holds copies.
        """
        packed = _packed(state)
        if self._torch is None:
            return self._worlds.unpack(*packed)
        with precision(self.dtype):
            return self._worlds.unpack(*(jnp.asarray(to_numpy(array)) for array in packed))

    @staticmethod
    def _state(packed: Packed, t: Array, episode: Array, seed: Array) -> EnvState:
        return EnvState(PackedNumbers(packed.numbers), PackedIntegers(packed.integers), t, episode, seed)

    def _names(self, seed: Array) -> Names:
        if self._torch is not None:
            whole = int(seed)
            return Names(np.array([whole & 0xFFFFFFFF, whole >> 32], np.uint32), self._numbers, self._horizon)
        high = seed >> 32 if seed.dtype.itemsize == 8 else jnp.zeros_like(seed)
        words = jnp.stack([seed & 0xFFFFFFFF if seed.dtype.itemsize == 8 else seed, high]).astype(jnp.uint32)
        return Names(words, self._numbers, self._horizon)

    def _check(self, action: Array) -> None:
        if (given := backend_of(action)) is not self._backend:
            raise TypeError(f"action is a {given.name} array, but the environment was made for {self.arrays}")
        shape = (self.num_envs, self.spec.num_actions)
        if tuple(action.shape) != shape or action.dtype != self.dtype:
            raise ValueError(f"action has shape {action.shape}, dtype {action.dtype}; expected {shape}, {self.dtype}")


def _packed(state: EnvState) -> Packed:
    return Packed(state.physics.numbers, state.task.integers)


def _spec(env: Any, obs: Any, name: str, horizon: int) -> EnvSpec:
    parts: dict[str, Any] = dict(obs) if isinstance(obs, Mapping) else {"": obs}
    shapes = {key: tuple(leaf.shape) for key, leaf in parts.items()}
    if "" in shapes and len(shapes[""]) != 1:
        raise ValueError(f"environment {name!r} observes an array of shape {shapes['']}; it must be a vector")
    return EnvSpec(
        name=name,
        num_obs=sum(map(math.prod, shapes.values())),
        num_actions=int(env.action_size),
        dt=float(env.dt),
        horizon=horizon,
        differentiable=is_differentiable(env),
        obs_shapes=shapes if isinstance(obs, Mapping) else {},
    )
