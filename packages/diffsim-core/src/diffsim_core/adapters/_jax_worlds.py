"""Worlds of an environment written in JAX for one world, such as Brax's: a batch of them, whose step is differentiable.

The state of a world is a tree of dozens of small arrays. It is carried as two rows of numbers: torch takes as long for
an array as for a thousand numbers of it, and one row is easily masked, kept and compared.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from diffsim_core._interop_jax import JAX
from diffsim_core._jax_compiled import compiling
from diffsim_core._protocol import Array, PyTree
from diffsim_core.adapters._jax_packing import Packing


class SingleWorld(Protocol):
    """What Brax and MuJoCo Playground call an environment: functions of one world, without an axis for worlds.

    A state is a tree of arrays with ``obs``, ``reward``, ``done``, ``metrics``, and whatever the step needs.
    """

    def reset(self, rng: jax.Array) -> Any:
        """The first state of an episode."""
        ...

    def step(self, state: Any, action: jax.Array) -> Any:
        """The next state, without any reset."""
        ...


class Packed(NamedTuple):
    """The states of ``N`` worlds."""

    numbers: Array
    """``[N, n]`` every real number."""
    integers: Array
    """``[N, m]`` every integer, bool and random key."""


class Outcome(NamedTuple):
    """What a step led to, each array ``[N, ...]``: fields of ``EnvState`` and of ``Transition``."""

    packed: Packed
    t: Array
    episode: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_obs: PyTree
    obs: PyTree
    diverged: Array
    metrics: dict[str, Array]


class Names(NamedTuple):
    """What names the random numbers of every world, and how long its episodes may be."""

    seed: Array
    """uint32 ``[2]``, the low and the high word."""
    world: Array
    """int32 ``[N]``"""
    horizon: Array
    """int32 scalar: control steps of an episode."""


_WORDS = {"start": "the reset", "step": "the step", "pull": "the gradient of the step"}


class Worlds:
    """``reset`` and ``step`` of a batch of worlds, as functions of arrays alone.

    Environments of any number of worlds share one object, and with it what JAX has compiled.

    Args:
        env: one world.
        name: for errors.
        num_actions: length of an action.
        dtype: of the real numbers, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: if the environment cannot be traced, or its step changes the structure of the state.
    """

    def __init__(self, env: SingleWorld, name: str, num_actions: int, dtype: str) -> None:
        self.env = env
        self.name = name
        self.dtype = jnp.dtype(dtype)
        """Of the real numbers."""
        key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
        self.example = _traced(name, "reset", env.reset, key)
        """A state of one world, shapes in place of arrays."""
        after = _traced(name, "step", env.step, self.example, jax.ShapeDtypeStruct((num_actions,), self.dtype))
        before, now = _shapes(self.example), _shapes(after)
        if changed := [path for path in {**before, **now} if before.get(path) != now.get(path)]:
            raise ValueError(
                f"environment {name!r}: {changed[0]} of the state is {before.get(changed[0])} after reset and "
                f"{now.get(changed[0])} after step; give it the same shape in both"
            )
        self.packing = Packing(self.example, dtype)
        self.unpack = jax.vmap(self.packing.unpack)
        """The states of packed ones, each array ``[N, ...]``."""
        self.advance = self._contained()
        self._jitted = {what: jax.jit(getattr(self, what)) for what in ("start", "step", "pull")}
        self._called: set[tuple[str, int]] = set()

    def compiled(self, what: str, *arguments: Any) -> Any:
        """``start``, ``step`` or ``pull``, compiled; a long compilation says so."""
        leaves = jax.tree.leaves(arguments)
        num_envs = leaves[-1].shape[0]
        if (what, num_envs) in self._called or any(map(JAX.is_traced, leaves)):
            return self._jitted[what](*arguments)
        with compiling(f"{_WORDS[what]} of {num_envs} worlds of {self.name}"):
            out = jax.block_until_ready(self._jitted[what](*arguments))
        self._called.add((what, num_envs))
        return out

    def start(self, names: Names, episode: Array) -> tuple[Packed, PyTree]:
        """First states and observations of the given episodes ``[N]``, each drawn from (seed, world, episode) alone."""
        whole = jax.random.fold_in(jax.random.fold_in(jax.random.PRNGKey(0), names.seed[0]), names.seed[1])

        def one(world: jax.Array, episode: jax.Array) -> tuple[jax.Array, jax.Array]:
            key = jax.random.fold_in(jax.random.fold_in(whole, world), episode)
            return self.packing.pack(self.env.reset(key))

        packed = Packed(*jax.lax.stop_gradient(jax.vmap(one)(names.world, episode)))
        return packed, self._observe(packed)

    def step(self, packed: Packed, t: Array, episode: Array, names: Names, action: Array) -> Outcome:
        """One control step of every world, and a new episode where one is done."""
        *reached, ok = self.advance(*packed, JAX.clip_unit(action))
        reached = Packed(*reached)
        state = self.unpack(*reached)
        terminated = (state.done > 0.5) & ok
        t = t + 1
        truncated = ((t >= names.horizon) & ~terminated) | ~ok
        done = terminated | truncated
        episode = episode + done.astype(episode.dtype)
        # A branch, as a reset takes as long as a step, or longer. Only in a `vmap` are both sides computed.
        first = jax.lax.cond(done.any(), lambda: self.start(names, episode)[0], lambda: jax.lax.stop_gradient(reached))
        numbers, reward, final_obs, obs = self._shown(reached, ok, done, first)
        return Outcome(
            packed=Packed(numbers, jnp.where(done[:, None], first.integers, reached.integers)),
            t=jnp.where(done, 0, t),
            episode=episode,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            final_obs=final_obs,
            obs=obs,
            diverged=~ok,
            metrics=jax.lax.stop_gradient({name: self._real(value, ok) for name, value in state.metrics.items()}),
        )

    def pull(
        self, packed: Packed, action: Array, ok: Array, done: Array, cotangents: tuple[Array, Array, PyTree, PyTree]
    ) -> tuple[Array, Array]:
        """Cotangents of ``packed.numbers`` and ``action``, from those of ``(numbers, reward, final_obs, obs)``.

        The step is computed again, so that nothing but its inputs need be kept, and one compilation serves windows of
        every length.
        """
        # What follows the physics is linear in its result, so that any state will do to pull back through it.
        _, pull = jax.vjp(lambda x: self._shown(packed._replace(numbers=x), ok, done, packed), packed.numbers)
        clipped, clip = jax.vjp(JAX.clip_unit, action)
        of_numbers, of_action = self._pull_physics((*packed, clipped, ok), pull(cotangents)[0])
        return of_numbers, clip(of_action)[0]

    def _shown(self, reached: Packed, ok: Array, done: Array, first: Packed) -> tuple[Array, Array, PyTree, PyTree]:
        """``(numbers, reward, final_obs, obs)`` of a step that reached a state, and ``first`` where it is done."""
        final_obs = self._observe(reached)
        # A diverged world shows the state before its step, in which the caller may have left what is not finite.
        final_obs = jax.tree.map(lambda x: jnp.where(_column(ok, x) | jnp.isfinite(x), x, 0), final_obs)
        obs = jax.tree.map(lambda new, old: jnp.where(_column(done, old), new, old), self._observe(first), final_obs)
        reward = self._real(self.unpack(*reached).reward, ok)
        return jnp.where(done[:, None], first.numbers, reached.numbers), reward, final_obs, obs

    def _observe(self, packed: Packed) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.astype(self.dtype), self.unpack(*packed).obs)

    def _real(self, value: Array, ok: Array) -> Array:
        """A number for each world; 0 where it diverged."""
        return jnp.where(ok, value.astype(self.dtype), 0)

    def _contained(self) -> Callable[[Array, Array, Array], tuple[Array, Array, Array]]:
        """``(numbers, integers, action) -> (numbers, integers, ok)``: the step without time limits and resets.

        A world whose next state is not finite, observation and reward among it, is contained: ``ok`` is false, its
        state stays, and no gradient passes through that step.
        """

        def forward(numbers: Array, integers: Array, action: Array) -> tuple[Array, Array, Array]:
            new, whole = self._physics(numbers, integers, action)
            ok = jnp.isfinite(new).all(axis=1)
            return jnp.where(ok[:, None], new, numbers), jnp.where(ok[:, None], whole, integers), ok

        def keep(numbers: Array, integers: Array, action: Array) -> tuple[Any, Any]:
            out = forward(numbers, integers, action)
            return out, (numbers, integers, action, out[2])

        def backward(kept: Any, cotangents: Any) -> tuple[Any, ...]:
            of_numbers, of_action = self._pull_physics(kept, cotangents[0])
            return of_numbers, np.zeros(kept[1].shape, jax.dtypes.float0), of_action

        advance = jax.custom_vjp(forward)
        advance.defvjp(keep, backward)
        return advance

    def _physics(self, numbers: Array, integers: Array, action: Array) -> tuple[Array, Array]:
        def one(numbers: Array, integers: Array, action: Array) -> tuple[Array, Array]:
            return self.packing.pack(self.env.step(self.packing.unpack(numbers, integers), action))

        return jax.vmap(one)(numbers, integers, action)

    def _pull_physics(self, kept: tuple[Array, Array, Array, Array], cotangent: Array) -> tuple[Array, Array]:
        """Cotangents of numbers and actions: zero in worlds that diverged, and in those where they are not finite.

        Zero times infinity is NaN, so that only a ``where`` at every state keeps one world from the shared gradient of
        a policy. What was not finite when it came, such as the gradient of a wrong loss, stays to be seen.
        """
        numbers, integers, action, ok = kept
        _, pull = jax.vjp(lambda x, u: self._physics(x, integers, u)[0], numbers, action)
        of_numbers, of_action = pull(jnp.where(ok[:, None], cotangent, 0))
        finite = jnp.isfinite(of_numbers).all(axis=1) & jnp.isfinite(of_action).all(axis=1)
        keep = (ok & (finite | ~jnp.isfinite(cotangent).all(axis=1)))[:, None]
        return jnp.where(keep, of_numbers, 0), jnp.where(keep, of_action, 0)


def precision(dtype: str) -> AbstractContextManager[Any]:
    """JAX computes with ``dtype`` while the context is open, whatever its switch ``jax_enable_x64`` says."""
    return jax.enable_x64(dtype == "float64")


def _traced(name: str, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, shapes in place of arrays."""
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:  # whatever another's code raises with the versions that are installed
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"the {what} of environment {name!r} fails with the installed JAX {jax.__version__}: "
            f"{type(error).__name__}: {said}; use another environment, or versions that fit together"
        ) from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def _column(mask: Array, like: Array) -> Array:
    return mask.reshape((-1,) + (1,) * (like.ndim - 1))
