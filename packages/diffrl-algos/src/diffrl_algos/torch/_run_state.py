"""``RunState``: what every run has in addition to its networks, and the base classes of the algorithms' states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from diffsim_core import Env, EnvState

from .._config import WindowConfig
from .._processes import size
from ._adam import Adam
from ._episodes import Episodes
from ._normalize import Normalizer, RunningStats
from ._observations import layout_of


class RunState(NamedTuple):
    """Where a run is: its worlds, its observation statistics, its random numbers and its counters."""

    env: Env
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, the observation that the policy sees next."""
    stats: RunningStats
    """Statistics of all observations before the next window; constant within a window."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    """Training episodes: those that are running, and the last ones that ended."""
    iteration: int
    """Updates done."""
    env_steps: int
    """Control steps done, summed over worlds."""
    refused: int
    """Updates that changed no parameter because something in them was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""

    @classmethod
    def first(cls, env: Env, env_state: EnvState, obs: Tensor, generator: torch.Generator) -> RunState:
        """The state before the first update; networks must be drawn from ``generator`` before this call."""
        layout = layout_of(env)
        draws = int(torch.randint(2**62, (), generator=generator))
        return cls(
            env=env,
            env_state=env_state,
            obs=obs,
            stats=RunningStats.init(env.spec.num_obs if layout is None else layout.vector, obs.device),
            rng=torch.Generator(obs.device).manual_seed(draws).get_state(),
            episodes=Episodes.init(env.num_envs * size()),
            iteration=0,
            env_steps=0,
            refused=0,
            diverged=0,
        )

    def generator(self) -> torch.Generator:
        """A generator that continues where the last update's ended."""
        generator = torch.Generator(self.obs.device)
        generator.set_state(self.rng)
        return generator

    def normalizer(self, config: WindowConfig) -> Normalizer:
        """The normalisation of observations by the present statistics; point clouds stay as they are."""
        one = torch.ones_like(self.obs[0])
        if not config.normalize_obs:
            return Normalizer(torch.zeros_like(one), one)
        known = self.stats.normalizer(self.obs.dtype, std_min=config.obs_std_min, clip=config.obs_clip)
        rest = one[len(known.scale) :]
        return Normalizer(
            torch.cat([known.shift, torch.zeros_like(rest)]),
            torch.cat([known.scale, rest]),
            None if known.bound is None else torch.cat([known.bound, torch.inf * rest]),
        )

    def restart(self, generator: torch.Generator) -> RunState:
        """New episodes in every world. Episodes that were running are dropped and not counted."""
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        env_state, obs = self.env.reset(seed)
        fresh = Episodes.init(self.env.num_envs * size())
        episodes = self.episodes._replace(running_return=fresh.running_return, running_length=fresh.running_length)
        return self._replace(env_state=env_state, obs=obs, episodes=episodes)


@dataclass(frozen=True)
class State:
    """A state that updates replace and never change. Subclasses add tensors, ints and tuples of them as fields."""

    run: RunState
    per_world: ClassVar[tuple[str, ...]] = ()
    """Names of fields, other than ``run``, whose arrays have an entry for each world of this process on axis 0."""

    episodic: ClassVar[tuple[str, ...]] = ()
    """Names of arrays that belong to episodes which are running: in other worlds they begin anew."""

    @property
    def env(self) -> Env:
        """The worlds that the run learns in."""
        return self.run.env

    @property
    def iteration(self) -> int:
        """Updates done."""
        return self.run.iteration

    @property
    def env_steps(self) -> int:
        """Control steps done, summed over worlds."""
        return self.run.env_steps

    @property
    def diverged(self) -> int:
        """Worlds that left the finite range, so far."""
        return self.run.diverged

    def replace(self, **changes: Any) -> Self:
        """The same state with some fields replaced."""
        return replace(self, **changes)


@dataclass(frozen=True)
class ActorState(State):
    """The state of an algorithm with an actor."""

    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam


@dataclass(frozen=True)
class CriticState(ActorState):
    """The state of an algorithm with an actor and critics: value functions or Q functions."""

    critic: Tensor
    """Flat parameters of the critics, one after another."""
    critic_adam: Adam


@dataclass(frozen=True)
class TargetState(CriticState):
    """The state of an algorithm whose value targets come from a moving average of its critics."""

    target: Tensor
    """Flat parameters of the target critics; equal to the critics where ``target_alpha`` is 0."""
