"""``diagnose_policy``: the measurement itself, for any differentiable environment and Gaussian policy in torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env

from .._diagnose._diagnosis import Diagnosis, Finding, StepFinding
from .._diagnose._measures import Cell, measure
from .._diagnose._moments import Gain, Pairs
from .._diagnose._recommend import recommend
from .._diagnose._states import groups
from .._diagnose._verdict import Thresholds, verdict
from .._errors import UsageError
from .._registry import list_algorithms
from ._distributions import Gaussian
from ._lookahead import Place, Subject, gains_from, pairs_from, places

Progress = Callable[[str, float], None]
"""Called with what is being done, and the part of it that is done, from 0 to 1."""
PARTS = ("episodes", "gradients")


def unseen(name: str, part: float) -> None:
    """Progress that nobody sees."""


def diagnose_policy(
    make_env: Callable[[int], Env],
    policy: Callable[[Tensor], Gaussian],
    *,
    squash: Callable[[Tensor], Tensor] = torch.tanh,
    num_envs: int = 8,
    samples: int = 16,
    steps: int = 32,
    begin: int | None = None,
    every: int | None = None,
    horizon: int = 32,
    gamma: float = 0.99,
    seed: int = 0,
    seconds: float | None = None,
    thresholds: Thresholds | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress = unseen,
) -> Diagnosis:
    """Say on which steps first-order gradients of a policy's return are noisy, biased or lost.

    At each of some steps of ``num_envs`` episodes, ``samples`` roll-outs start from the same state, with new noise. For
    each lookahead h = 1, 2, 4, ... up to ``horizon``, the gradient of the sum of h discounted rewards with respect to
    the first action, in units of the policy's noise, is taken through the simulator and the later actions (the
    first-order gradient of SHAC), and compared with central differences over the noise itself (zeroth order), which are
    unbiased for the gradient of the expected return. A step along its mean is then tried out in new noise. Rewards
    count to the end of the episode; no critic adds what follows.

    Args:
        make_env: makes the environment with a number of worlds; differentiable, in torch.
        policy: observations ``[N, no]`` to Gaussians ``[N, na]``; differentiable.
        squash: what makes actions of what is drawn from them.
        num_envs: states at each step.
        samples: roll-outs from each state, an even number of at least 4.
        steps: steps that are examined.
        begin: the first of them; by default 100, or less where episodes are short.
        every: control steps from one to the next; by default 1, or so that a short episode is covered.
        horizon: longest lookahead [control steps]; at most an episode.
        gamma: discount per control step.
        seed: names the worlds and the noise.
        seconds: wall time after which no further step is begun; the steps done are then spread over the episodes.
        thresholds: where the verdicts come from.
        about: what goes into the result about the policy.
        progress: told what is done.

    Raises:
        UsageError: the environment has no gradients, or a number is out of its range.
    """
    _require(num_envs=(num_envs, 1), steps=(steps, 1), horizon=(horizon, 1))
    if samples < 4 or samples % 2:
        raise UsageError(f"samples is {samples}; expected an even number of at least 4, as variances need two pairs")
    if not 0.0 <= gamma <= 1.0:
        raise UsageError(f"gamma is {gamma}; expected 0 to 1")
    if seconds is not None and not seconds > 0.0:
        raise UsageError(f"seconds is {seconds}; expected more than 0")
    began = time.monotonic()
    env = make_env(num_envs)
    if not env.spec.differentiable:
        raise UsageError(
            f"{env.spec.name} has no gradients, so there is nothing to diagnose; train with ppo, sac or td3"
        )
    subject = Subject(env, make_env(num_envs * samples), policy, squash, gamma)
    limits = thresholds or Thresholds()
    at = examined(env.spec.horizon, steps, begin, every)
    lookaheads = horizons(min(horizon, env.spec.horizon))
    generator = torch.Generator(env_device(env)).manual_seed(seed)
    progress(PARTS[0], 0.0)
    found = places(subject, at, generator, seed)
    cells: dict[int, list[Cell]] = {}
    for done, k in enumerate(spread_out(len(found))):
        progress(PARTS[1], done / len(found))
        if done >= 2 and seconds is not None and time.monotonic() - began > seconds:
            break
        # Noise of its own for each step, so that it does not depend on which others were examined.
        own = torch.Generator(generator.device).manual_seed(seed * 1_000_003 + at[k] + 1)
        pairs = pairs_from(subject, found[k], lookaheads, own)
        cells[k] = [
            Cell(*both) for both in zip(pairs, gains_from(subject, found[k], pairs, lookaheads, own), strict=True)
        ]
    order = sorted(cells)
    rows = [_step(found[k], lookaheads, cells[k], limits) for k in order]
    overall = tuple(_finding(h, [cells[k][i] for k in order], limits) for i, h in enumerate(lookaheads))
    advice = recommend(
        lookaheads,
        [(one.measure, one.verdict) for one in overall],
        [[one.verdict for one in row.findings] for row in rows],
        limits,
        {entry.name for entry in list_algorithms()},
    )
    settings = {"num_envs": num_envs, "samples": samples, "gamma": gamma, "seed": seed}
    return Diagnosis(
        about={"task": env.spec.name, "policy": "a policy", **(about or {}), **settings},
        dt=float(env.spec.dt),
        lookaheads=tuple(lookaheads),
        thresholds=limits,
        steps=tuple(rows),
        overall=overall,
        states=_states([found[k] for k in order], [cells[k] for k in order], lookaheads, limits),
        recommendation=advice,
        complete=len(order) == len(found),
    )


def examined(episode: int, steps: int, begin: int | None, every: int | None) -> list[int]:
    """The steps to examine, rising.

    Raises:
        UsageError: they do not fit into an episode.
    """
    if begin is None:
        begin = 0 if episode <= 4 * steps else min(100, episode // 4)
    if every is None:
        every = max(1, (episode - begin) // steps) if episode <= 4 * steps else 1
    _require(begin=(begin, 0), every=(every, 1))
    if begin >= episode:
        raise UsageError(f"begin is {begin}; an episode has {episode} steps, so give less")
    at = [begin + k * every for k in range(steps)]
    return [step for step in at if step < episode]


def horizons(longest: int) -> list[int]:
    """Lookaheads 1, 2, 4, ... up to the longest, which is one of them too."""
    return sorted({*(2**k for k in range(longest.bit_length()) if 2**k <= longest), longest})


def spread_out(count: int) -> list[int]:
    """0 to ``count - 1`` in an order of which every beginning is spread over them all: bits in reverse."""
    bits = max(1, (count - 1).bit_length())
    reverse = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits)]
    return [k for k in reverse if k < count]


def env_device(env: Env) -> str:
    """Where the environment's arrays are."""
    return str(getattr(env, "device", "cpu"))


def _step(place: Place, lookaheads: Sequence[int], cells: Sequence[Cell], limits: Thresholds) -> StepFinding:
    contacts = place.contacts
    return StepFinding(
        step=place.step,
        reward=float(place.reward.mean()),
        metrics={name: float(np.mean(value)) for name, value in place.metrics.items()},
        contacts={} if contacts is None else dict(zip(contacts.names, contacts.before.mean(0).tolist(), strict=True)),
        findings=tuple(_finding(h, [cell], limits) for h, cell in zip(lookaheads, cells, strict=True)),
    )


def _finding(lookahead: int, cells: Sequence[Cell], limits: Thresholds) -> Finding:
    found = measure(cells)
    return Finding(lookahead=lookahead, verdict=verdict(found, limits), measure=found)


def _states(
    found: Sequence[Place], cells: Sequence[Sequence[Cell]], lookaheads: Sequence[int], limits: Thresholds
) -> dict[str, tuple[Finding, ...]]:
    """What each group of states says, of the groups that have at least one state."""
    named = groups([place.contacts for place in found], len(found[0].reward))

    def of(masks: Sequence[Any], k: int) -> list[Cell]:
        parts = zip(masks, (row[k] for row in cells), strict=True)
        return [
            Cell(Pairs(*(x[mask] for x in cell.pairs)), Gain(*(x[mask] for x in cell.gain)))
            for mask, cell in parts
            if mask.any()
        ]

    return {
        name: tuple(_finding(h, of(masks, k), limits) for k, h in enumerate(lookaheads))
        for name, masks in named.items()
    }


def _require(**given: tuple[int, int]) -> None:
    for name, (value, least) in given.items():
        if value < least:
            raise UsageError(f"{name} is {value}; expected at least {least}")
