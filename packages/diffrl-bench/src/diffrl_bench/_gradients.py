"""``bench gradients``: bias, variance, signal to noise and horizon of trust of gradient estimators on a task.

The objective is the expected discounted sum of the rewards of ``H`` steps of one fixed Gaussian policy, from one fixed
distribution of starts, up to the end of an episode. Estimators of its gradient with respect to the policy's parameters
are compared along a few random directions with central differences.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradest
from diffrl_algos import Bundle
from diffrl_algos._opened import Opened, open_policy
from diffrl_algos.torch import BundledEnv
from diffrl_algos.torch._account import settings
from diffrl_algos.torch._normalize import Normalizer
from diffsim_core import Env

from ._gradient_estimators import ESTIMATORS, estimate
from ._gradient_figures import figures, trust
from ._gradient_truth import Truth, differences, step_widths, truth_of
from ._gradient_worlds import Batch, Start, Subject, batches, begin, noise
from ._machine import machine, versions
from ._stopwatch import Progress, unseen

BUNDLES = "bundles"
"""First order through a ``BundledEnv``, in place of the plain worlds."""
NAMES = (*ESTIMATORS, BUNDLES)
HORIZONS = (1, 2, 4, 8, 16, 32, 64)
_CHUNK_SEEDS = 1_000_003


@dataclass(frozen=True, kw_only=True)
class GradientsBench:
    """What to measure; every number is checked."""

    horizons: tuple[int, ...] = HORIZONS
    """Control steps of a return, rising."""
    estimators: tuple[str, ...] | None = None
    """Of ``NAMES``; None for all but bundles."""
    samples: int = 1024
    """Worlds for the estimators."""
    truth: int = 1024
    """Worlds for the central differences, others than those."""
    batch: int = 64
    """Worlds of a mean."""
    num_envs: int = 64
    """Worlds at a time; ``batch`` and ``truth`` are multiples of it."""
    directions: int = 8
    """Random directions of the parameters."""
    width: float = 0.3
    """Half-width of the central differences, see ``step_widths``."""
    begin: int = 0
    """Control steps of the policy before the starts."""
    gamma: float = 0.99
    branches: int = 10
    """Of a bundle."""
    seed: int = 0
    """Names the worlds, the noise, the directions and a fresh policy."""

    def __post_init__(self) -> None:
        least = {"samples": 2 * self.batch, "truth": 2, "batch": 2, "num_envs": 1, "directions": 1, "begin": 0}
        for name, smallest in {**least, "branches": 1, "seed": 0}.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {smallest}")
        for name in ("batch", "truth"):
            if getattr(self, name) % self.num_envs:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a multiple of num_envs, {self.num_envs}")
        if self.samples % self.batch:
            raise ValueError(f"samples is {self.samples}; expected a multiple of batch, {self.batch}")
        rising = all(a < b for a, b in zip(self.horizons, self.horizons[1:], strict=False))
        if not self.horizons or self.horizons[0] < 1 or not rising:
            raise ValueError(f"horizons is {self.horizons}; expected rising numbers of at least 1")
        if not 0.0 < self.gamma <= 1.0:
            raise ValueError(f"gamma is {self.gamma}; expected above 0 and at most 1")
        if not 0.0 < self.width < math.inf:
            raise ValueError(f"width is {self.width}; expected a finite number above 0")
        for name in self.names:
            if name not in NAMES:
                raise ValueError(f"estimators has {name!r}; choose from {', '.join(NAMES)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The estimators."""
        return tuple(ESTIMATORS) if self.estimators is None else self.estimators


def bench_gradients(
    source: str | Path,
    bench: GradientsBench,
    *,
    sigma: float | None = None,
    task_options: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    checkpoint: str = "last",
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Measure the estimators on a task, for a fresh policy or that of a run.

    Args:
        source: a run folder, or the name of a task.
        bench: what to measure. Horizons beyond an episode are left out.
        sigma: deviation of the policy's noise, in place of its own.
        task_options: options of the task; of a run, those that are to differ from it.
        dtype: ``float32`` or ``float64``; by default the latter, where the task has it.
        checkpoint: of a run: ``last``, ``best`` or an iteration.
        progress: told what is done.

    Returns:
        A report for JSON.

    Raises:
        UsageError: there is no such task, or it has no gradients.
        RunError: the run folder cannot be read.
        ValueError: a number is out of its range, or bundles do not fit the task.
    """
    began = time.monotonic()
    facts = machine()
    opened = open_policy(source, checkpoint=checkpoint, task_options=task_options, seed=bench.seed)
    opened, env = _worlds(opened, dtype, bench.num_envs)
    horizons = tuple(h for h in bench.horizons if h <= env.spec.horizon)
    if not horizons:
        raise ValueError(f"horizons is {bench.horizons}, and an episode has {env.spec.horizon} steps")
    bench = dataclasses.replace(bench, horizons=horizons)
    bundled = BundledEnv(_task_env(env), Bundle(branches=bench.branches)) if BUNDLES in bench.names else None
    with settings(opened.spec.config):
        found = measure(_subject(opened, env, bench, sigma), env, bench, bundled, progress)
    return {
        "benchmark": "gradients",
        **opened.about,
        "task_options": opened.spec.to_json()["task_options"],
        "sigma": sigma,
        "settings": {**vars(bench), "estimators": bench.names},
        **found,
        "wall_s": time.monotonic() - began,
        "machine": facts,
        "versions": versions(),
    }


def measure(
    subject: Subject, env: Env, bench: GradientsBench, bundled: Any = None, progress: Progress = unseen
) -> dict[str, Any]:
    """The figures of every estimator and horizon, for any policy and worlds: ``truth``, ``rows`` and ``trust``."""
    directions = gradest.random_directions(np.random.default_rng(bench.seed), subject.theta, count=bench.directions)
    truth = _truth(subject, env, bench, directions, progress)
    plain = [name for name in bench.names if name != BUNDLES]
    groups = _groups(subject, env, env, bench, directions, plain, _part(progress, "estimators"))
    if bundled is not None:
        groups |= _groups(subject, env, bundled, bench, directions, [BUNDLES], _part(progress, "bundles"))
    rows = [
        {
            "estimator": name,
            "horizon": h,
            **figures([found for found, _ in groups[name, h]], truth[h]),
            "left_out": sum(lost for _, lost in groups[name, h]) / bench.samples,
        }
        for name in bench.names
        for h in bench.horizons
    ]
    cosines = {name: [row["cosine"] for row in rows if row["estimator"] == name] for name in bench.names}
    return {
        "truth": [
            {
                "horizon": h,
                "norm": math.sqrt(max(one.square, 0.0)),
                "error": one.error,
                "known": one.known,
                "worlds": one.worlds,
                "left_out": one.left_out / bench.truth,
            }
            for h, one in truth.items()
        ],
        "rows": rows,
        "trust": {name: trust(bench.horizons, cosines[name]) for name in bench.names},
    }


def _truth(
    subject: Subject, env: Env, bench: GradientsBench, directions: Tensor, progress: Progress
) -> dict[int, Truth]:
    found, fine, widths = [], [], None
    count = bench.truth // bench.num_envs
    for k in range(count):
        progress("truth", k / count)
        # Seeds of the truth are even, those of the estimators odd: the worlds are others.
        start, eps = _chunk(subject, env, bench, 2 * k)
        if widths is None:
            widths = step_widths(subject, env, start, eps, directions, bench.width)
        values, kept = differences(subject, env, start, eps, bench.horizons, directions, widths)
        found.append(values)
        fine.append(kept)
    values, kept = np.concatenate(found, axis=1), np.concatenate(fine, axis=1)
    return {h: truth_of(values[i], kept[i]) for i, h in enumerate(bench.horizons)}


def _groups(
    subject: Subject,
    plain: Env,
    env: Any,
    bench: GradientsBench,
    directions: Tensor,
    names: Sequence[str],
    told: Callable[[float], None],
) -> dict[tuple[str, int], list[tuple[Any, int]]]:
    """For each estimator and horizon the gradients of each batch ``[n, K]``, and how many worlds do not count.

    Roll-outs are of ``env``, from starts of the ``plain`` worlds.
    """
    found: dict[tuple[str, int], list[tuple[Any, int]]] = {(name, h): [] for name in names for h in bench.horizons}
    per_batch, count = bench.batch // bench.num_envs, bench.samples // bench.num_envs
    for k in range(0, count, per_batch):
        parts: list[dict[int, Batch]] = []
        for j in range(k, k + per_batch):
            told(j / count)
            start, eps = _chunk(subject, plain, bench, 2 * j + 1)
            if env is not plain:
                start = start._replace(state=start.state._replace(task=env.memory(start.state)))
            parts.append(batches(subject, env, start, eps, bench.horizons, directions))
        for h in bench.horizons:
            whole = Batch.joined([part[h] for part in parts])
            for name in names:
                one = estimate("first" if name == BUNDLES else name, whole)
                found[name, h].append((one.gradients.double().cpu().numpy(), one.left_out))
    return found


def _chunk(subject: Subject, env: Env, bench: GradientsBench, k: int) -> tuple[Start, Tensor]:
    """Starts and noise of the ``k``-th worlds."""
    seed = bench.seed * _CHUNK_SEEDS + k
    generator = torch.Generator(subject.theta.device).manual_seed(seed)
    start = begin(subject, env, seed, bench.begin, generator)
    return start, noise(generator, subject.theta, bench.horizons[-1], env.num_envs, env.spec.num_actions)


def _worlds(opened: Opened, dtype: str | None, num_envs: int) -> tuple[Opened, Env]:
    """The worlds in the dtype that is asked for, or in double precision where the task has it."""
    # Guests compute in single precision unless the process was told otherwise.
    if dtype is None and ":" not in opened.spec.task:
        try:
            return _in(opened, "float64", num_envs)
        except ValueError:
            pass  # Some simulators have single precision only. What else is wrong, the next line says.
    return _in(opened, dtype or "float32", num_envs)


def _in(opened: Opened, dtype: str, num_envs: int) -> tuple[Opened, Env]:
    spec = dataclasses.replace(opened.spec, task_options={**opened.spec.task_options, "dtype": dtype})
    changed = dataclasses.replace(opened, spec=spec)
    return changed, changed.make_env(num_envs)


def _subject(opened: Opened, env: Env, bench: GradientsBench, sigma: float | None) -> Subject:
    dtype = getattr(torch, opened.spec.task_options["dtype"])
    theta, actor = opened.parameters.detach().to(dtype), opened.actor
    if sigma is not None:
        if not 0.0 < sigma < math.inf:
            raise ValueError(f"sigma is {sigma}; expected a finite number above 0")
        if actor.state_dependent:
            raise ValueError(
                f"sigma is {sigma}, but the policy of {opened.spec.algorithm} has noise of its own in each state"
            )
        theta = theta.clone()
        theta[actor.mlp.num_params :] = math.log(sigma)
    shift, scale, bound = opened.normalize
    normalize = Normalizer(shift.to(dtype), scale.to(dtype), None if bound is None else bound.to(dtype))
    return Subject(lambda flat, obs: actor(actor.split(flat), normalize(obs)), theta, bench.gamma)


def _task_env(env: Any) -> Any:
    """The worlds below a view of their observations."""
    return getattr(env, "worlds", env)


def _part(progress: Progress, name: str) -> Callable[[float], None]:
    return lambda part: progress(name, part)
