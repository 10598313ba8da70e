"""``account``: the host's half of an update. It accepts or refuses what was learned, counts, and reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import EnvState, Trajectory, collect_divergences, stop_gradient

from .._algorithm import Metrics
from .._config import UpdateConfig
from .._processes import size
from . import _distributed as distributed
from ._episodes import Episodes
from ._run_state import State

StateT = TypeVar("StateT", bound=State)


@dataclass(frozen=True)
class Learned:
    """What an update computed, still on the device."""

    trajectory: Trajectory
    """The window it learned from."""
    env_state: EnvState
    """The worlds after the window."""
    obs: Tensor
    """``[N, no]`` after the window."""
    changes: Mapping[str, Any]
    """New values of fields of the state, which are taken over if everything in ``finite`` is finite."""
    finite: tuple[Tensor, ...]
    """What the update was computed from, and its results; a gradient may be finite where a reward is not (``gate``)."""
    metrics: Mapping[str, Tensor]
    """Scalars to report."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """Numbers to report that the host has already."""
    always: Mapping[str, Any] = field(default_factory=dict)
    """New values of fields that are taken over in any case."""
    episodes: Episodes | None = None
    """Episodes before the window, if they are not those of the state: after a restart."""
    extra_steps: int = 0
    """Control steps in addition to those of the window."""
    refused: bool = False
    """Refuse the update whatever ``finite`` says."""

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not isinstance(value, Tensor) or value.ndim:
                given = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise TypeError(f"metric {name!r} is {given}, not a scalar tensor; plain numbers belong in host")


def account(state: StateT, learned: Learned, generator: torch.Generator, clock: Clock) -> tuple[StateT, Metrics]:
    """The next state and the metrics of an update. Everything is read from the device in one transfer."""
    run, window = state.run, learned.trajectory
    finite, diverged, metrics, rows = _read(learned)
    accepted = finite and not learned.refused
    seen = window.obs.detach().flatten(0, 1)[:, : len(run.stats.mean)]
    run = run._replace(
        env_state=stop_gradient(learned.env_state),
        obs=learned.obs.detach(),
        stats=run.stats.update(seen) if accepted else run.stats,
        rng=generator.get_state(),
        episodes=(learned.episodes or run.episodes).update(*rows),
        iteration=run.iteration + 1,
        env_steps=run.env_steps + window.done.numel() * size() + learned.extra_steps,
        refused=run.refused + (not accepted),
        diverged=run.diverged + diverged,
    )
    clock.lap("account_s")
    return_mean, length_mean = run.episodes.means()
    report = {
        "return_mean": return_mean,
        "length_mean": length_mean,
        "episodes": run.episodes.finished,
        **metrics,
        **learned.host,
        "refused_updates": run.refused,
        "diverged": run.diverged,
        **clock.laps,
        "divergences": collect_divergences(run.env, window) if diverged else [],
    }
    if bad := int(np.count_nonzero(~np.isfinite(rows[0].numpy()))):  # on the host already
        report["rewards_not_finite"] = bad
    changes = {**(learned.changes if accepted else {}), **learned.always}
    return state.replace(run=run, **changes), report


def _read(learned: Learned) -> tuple[bool, int, dict[str, float], tuple[Tensor, Tensor, Tensor]]:
    """Whether all is finite, worlds that diverged, metrics, and reward, done and valid ``[T, N]`` of all processes."""
    window, dtype = learned.trajectory, learned.obs.dtype
    named = {**learned.metrics, **{f"task_{name}": value.mean() for name, value in window.metrics.items()}}
    good = torch.stack([torch.isfinite(part).all() for part in (*learned.finite, learned.obs.new_zeros(()))]).all()
    counts = [(~good).to(dtype), window.diverged.sum().to(dtype)]
    # Counts are means over the processes like all else, so that one reduction serves.
    scalars = distributed.mean(torch.stack([*counts, *(value.detach().to(dtype) for value in named.values())]))
    parts = (window.reward, window.done, window.valid)
    reward, done, valid = (distributed.worlds(part.detach().to(dtype), 1) for part in parts)
    everything = torch.cat([scalars, reward.flatten(), done.flatten(), valid.flatten()]).cpu()
    scalars, *rows = everything.split([len(scalars), *[reward.numel()] * 3])
    reward, done, valid = (part.view(reward.shape) for part in rows)
    bad, diverged, *values = scalars.tolist()
    metrics = dict(zip(named, values, strict=True))
    return bad == 0, round(diverged * size()), metrics, (reward, done > 0, valid > 0)


class Clock:
    """How an update's time is spent [s]; on CUDA, when its work was queued."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Record the time since the last lap under ``name``."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


@contextlib.contextmanager
def settings(config: UpdateConfig) -> Iterator[None]:
    """Run torch on ``torch_threads`` threads and let gradest pass NaN, which ``account`` refuses and counts."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.torch_threads)
    try:
        with gradest.allow_nan():
            yield
    finally:
        torch.set_num_threads(before)


def all_finite(*parts: Tensor) -> bool:
    """Whether every number of every part is finite in all processes, in one transfer."""
    bad = ~torch.stack([torch.isfinite(part).all() for part in parts]).all()
    return distributed.total(int(bad)) == 0
