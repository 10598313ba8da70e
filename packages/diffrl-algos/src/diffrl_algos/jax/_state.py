"""States of runs: arrays on the device, counters on the host, and their names in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffsim_core import Env, EnvState

from .._arrays import require_fit
from .._config import WindowConfig
from .._episodes import Episodes
from ._adam import Adam
from ._normalize import Normalizer, RunningStats


class Worlds(NamedTuple):
    """Where a run is: its worlds, its observation statistics and its random numbers."""

    env_state: EnvState
    obs: Array
    """``[N, no]``, the observation that the policy sees next."""
    stats: RunningStats
    """Statistics of all observations before the next window; constant within a window."""
    rng: Array
    """Data of the key that the next update draws from, uint32."""

    def normalizer(self, config: WindowConfig) -> Normalizer:
        """The normalisation of observations by the present statistics."""
        if not config.normalize_obs:
            return Normalizer(jnp.zeros_like(self.obs[0]), jnp.ones_like(self.obs[0]))
        return self.stats.normalizer(self.obs.dtype, std_min=config.obs_std_min, clip=config.obs_clip)


class Counters(NamedTuple):
    """What the host counts."""

    episodes: Episodes
    """Training episodes: those that are running, and the last ones that ended."""
    iteration: int = 0
    """Updates done."""
    env_steps: int = 0
    """Control steps done, summed over worlds."""
    refused: int = 0
    """Updates that changed no parameter because something in them was not finite."""
    diverged: int = 0
    """Worlds that left the finite range, so far."""


class ActorNets(NamedTuple):
    """What an algorithm with an actor learns."""

    actor: Array
    """Flat parameters of the actor."""
    actor_adam: Adam


class TargetNets(NamedTuple):
    """What an algorithm learns whose value targets come from a moving average of its critics."""

    actor: Array
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Array
    """Flat parameters of the critics, one after another."""
    critic_adam: Adam
    target: Array
    """Flat parameters of the target critics."""


@dataclass(frozen=True)
class State:
    """All that a run needs to go on; updates replace it."""

    env: Env
    worlds: Worlds
    counters: Counters
    nets: Any
    """The algorithm's own arrays, a named tuple."""

    @property
    def iteration(self) -> int:
        """Updates done."""
        return self.counters.iteration

    @property
    def env_steps(self) -> int:
        """Control steps done, summed over worlds."""
        return self.counters.env_steps

    @property
    def diverged(self) -> int:
        """Worlds that left the finite range, so far."""
        return self.counters.diverged

    def replace(self, **changes: Any) -> Self:
        """The same state with some fields replaced."""
        return replace(self, **changes)

    def _tree(self) -> dict[str, Any]:
        """All arrays and whole numbers, under the names that they have in torch's checkpoints too."""
        run = {**self.worlds._asdict(), **self.counters._asdict()}
        return {"run": run, **self.nets._asdict()}

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The state as named arrays; whole numbers are int64 scalars."""
        return {name: np.array(leaf) for name, leaf in _named(jax.device_get(self._tree()))}

    def from_arrays(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Self:
        """The state that ``arrays`` hold, with the environment and the structure of this one.

        Raises:
            ValueError: a name, shape or dtype is not that of this state; the message names it.
        """
        require_fit(arrays, self.to_arrays())
        leaves, structure = jax.tree.flatten(self._tree())
        rebuilt = [_like(leaf, arrays[name]) for leaf, (name, _) in zip(leaves, _named(self._tree()), strict=True)]
        tree = jax.tree.unflatten(structure, rebuilt)
        run = tree.pop("run")
        worlds = Worlds(**{name: run[name] for name in Worlds._fields})
        counters = Counters(**{name: run[name] for name in Counters._fields})
        return self.replace(worlds=worlds, counters=counters, nets=type(self.nets)(**tree))


def _named(tree: Any) -> list[tuple[str, Any]]:
    """Leaves with their dotted names: ``run.env_state.physics.q``."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _like(leaf: Any, array: np.ndarray[Any, Any]) -> Any:
    """A stored array in the place of ``leaf``: on its device, in NumPy, or a whole number."""
    if isinstance(leaf, jax.Array):
        return jax.device_put(array, leaf.sharding)
    return array.copy() if isinstance(leaf, np.ndarray) else int(array)
