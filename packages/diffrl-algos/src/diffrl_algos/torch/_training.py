"""What every update does around its own mathematics: begin, accept or refuse, count, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, collect_divergences, require_memory, stop_gradient

from .._algorithm import Metrics
from .._configs import UpdateConfig, WindowConfig
from .._processes import size
from . import _distributed as distributed
from ._episodes import Episodes
from ._normalize import RunningStats
from ._observations import layout_of


class Worlds(Protocol):
    """The fields that the state of every algorithm has beside its networks; states are NamedTuples."""

    @property
    def env(self) -> Env: ...
    @property
    def stats(self) -> RunningStats:
        """Statistics of all observations before the next window; frozen while a window is rolled out."""
        ...

    @property
    def env_state(self) -> EnvState: ...
    @property
    def obs(self) -> Tensor:
        """``[N, no]``, what the policy sees next."""
        ...

    @property
    def rng(self) -> Tensor:
        """State of the random generator, bytes."""
        ...

    @property
    def episodes(self) -> Episodes: ...
    @property
    def iteration(self) -> int: ...
    @property
    def env_steps(self) -> int: ...
    @property
    def refused(self) -> int:
        """Updates refused because something in them was not finite."""
        ...

    @property
    def diverged(self) -> int:
        """Worlds that left the finite range, so far."""
        ...

    def _replace(self, **changes: Any) -> Self: ...


State = TypeVar("State", bound=Worlds)


def begin(
    env: Env, seed: int, name: str, *, gradients: bool = True, window: int = 0, processes: bool = False
) -> tuple[EnvState, Tensor]:
    """First state and observation, for an algorithm called ``name``.

    Raises:
        ValueError: its ``gradients`` are needed and the environment is not differentiable, or its observation is no
            tensor ``[N, no]`` (``flat`` makes one of a mapping, for an algorithm with an encoder), there are several
            ``processes`` and it cannot share its worlds out to them, or the backward pass of ``window`` steps would
            need more memory than there is.
    """
    spec = env.spec
    if size() > 1 and not processes:
        raise ValueError(f"{name} learns in one process; it cannot share its worlds out to {size()}")
    if gradients and not spec.differentiable:
        raise ValueError(
            f"environment {spec.name!r} is not differentiable; {name} learns through its gradients: use ppo, sac or td3"
        )
    if gradients:
        require_memory(env, window)
    if spec.obs_shapes:
        arrays = ", ".join(f"{key} {list(shape)}" for key, shape in spec.obs_shapes.items())
        raise ValueError(
            f"environment {spec.name!r} observes {arrays}; {name} has no encoder for them: use sapo, or a task whose "
            "observation is one vector"
        )
    env_state, obs = env.reset(seed)
    if not isinstance(obs, Tensor) or obs.shape != (env.num_envs, spec.num_obs):
        raise ValueError(
            f"environment {spec.name!r} gives observations of {type(obs).__name__}"
            f"{list(getattr(obs, 'shape', []))}; {name} needs a torch tensor [{env.num_envs}, {spec.num_obs}]"
        )
    return env_state, obs


def first_fields(env: Env, env_state: EnvState, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
    """The fields of ``Worlds`` before the first update; call it once the networks are drawn from ``generator``."""
    layout = layout_of(env)
    draws = int(torch.randint(2**62, (), generator=generator))
    return {
        "env": env,
        "stats": RunningStats.init(env.spec.num_obs if layout is None else layout.vector, obs.device),
        "env_state": env_state,
        "obs": obs,
        "rng": torch.Generator(obs.device).manual_seed(draws).get_state(),
        "episodes": Episodes.init(env.num_envs * size()),
        "iteration": 0,
        "env_steps": 0,
        "refused": 0,
        "diverged": 0,
    }


def generator_of(state: Worlds) -> torch.Generator:
    """A generator that goes on where the last update's ended."""
    generator = torch.Generator(state.obs.device)
    generator.set_state(state.rng)
    return generator


def normalizer(config: WindowConfig, state: Worlds) -> tuple[Tensor, Tensor]:
    """``(shift, scale)`` of the observation statistics as they are now; point clouds stay as they are."""
    same = torch.zeros_like(state.obs[0]), torch.ones_like(state.obs[0])
    if not config.normalize_obs:
        return same
    known = state.stats.affine(state.obs.dtype)
    shift, scale = (torch.cat([part, rest[len(part) :]]) for part, rest in zip(known, same, strict=True))
    return shift, scale


def normal(generator: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """Standard normal numbers ``[..., N, na]`` of the type and on the device of ``like``."""
    *before, worlds, last = shape
    whole = (*before, worlds * size(), last)
    return distributed.mine(torch.randn(whole, generator=generator, dtype=like.dtype, device=like.device), -2)


def restart(state: State, generator: torch.Generator) -> State:
    """New episodes in every world; those that were running are forgotten, not counted."""
    env_state, obs = state.env.reset(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
    kept, fresh = state.episodes, Episodes.init(state.env.num_envs * size())
    episodes = kept._replace(running_return=fresh.running_return, running_length=fresh.running_length)
    return state._replace(env_state=env_state, obs=obs, episodes=episodes)


def all_finite(*parts: Tensor) -> bool:
    """Whether every number of every part is finite, in one transfer."""
    bad = ~torch.stack([torch.isfinite(part).all() for part in parts]).all()
    return distributed.total(int(bad)) == 0


def go_on(
    state: State,
    learned: Mapping[str, Any] | None,
    window: Trajectory,
    env_state: EnvState,
    obs: Tensor,
    generator: torch.Generator,
) -> State:
    """The state after a window: with what was learned, or without where that is None, which is counted."""
    seen = window.obs.detach().flatten(0, 1)
    changes = (
        {"refused": state.refused + 1}
        if learned is None
        else {**learned, "stats": state.stats.update(seen[:, : len(state.stats.mean)])}
    )
    return state._replace(
        **changes,
        env_state=stop_gradient(env_state),
        obs=obs.detach(),
        rng=generator.get_state(),
        episodes=state.episodes.update(*(distributed.worlds(part, 1) for part in (window.reward, window.done))),
        iteration=state.iteration + 1,
        env_steps=state.env_steps + window.done.numel() * size(),
        diverged=state.diverged + distributed.total(int(window.diverged.sum())),
    )


def report(state: Worlds, window: Trajectory, figures: Mapping[str, Tensor], clock: Clock, **more: Any) -> Metrics:
    """The metrics of the update that led to ``state``; ``figures`` are scalars, read in one transfer."""
    figures = {**figures, **{f"task_{name}": value.detach().mean() for name, value in window.metrics.items()}}
    return_mean, length_mean = state.episodes.means()
    values = distributed.mean(torch.stack([value.detach() for value in figures.values()])).tolist() if figures else []
    return {
        "return_mean": return_mean,
        "length_mean": length_mean,
        "episodes": state.episodes.finished,
        **dict(zip(figures, values, strict=True)),
        **more,
        "refused_updates": state.refused,
        "diverged": state.diverged,
        **clock.laps,
        "divergences": collect_divergences(state.env, window) if window.diverged.any() else [],
    }


class Clock:
    """Where an update's time goes [s]; on CUDA, where its work was queued."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """The time since the last lap, under ``name``."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


@contextlib.contextmanager
def settings(config: UpdateConfig) -> Iterator[None]:
    """Run torch on ``torch_threads`` threads and let gradest pass NaN, which ``go_on`` refuses and counts."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.torch_threads)
    try:
        with gradest.allow_nan():
            yield
    finally:
        torch.set_num_threads(before)
