"""Check of the gradients of whole rollouts against central differences, by horizon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffsim_core._check_env import Numbers, Subject
from diffsim_core._check_points import derivative_faults
from diffsim_core._check_probes import Progress, probes
from diffsim_core._interop import from_numpy, to_numpy, value_and_grad
from diffsim_core._protocol import Array, Env, EnvState
from diffsim_core._tree import tree_map

_H = 1e-6
"""Half-width of the differences; a second set is ten times as wide."""
_MOST = 32
"""Perturbations of the actions of a step, see ``probes``."""
_AGREE = 0.999
"""Cosine between differences of the two widths below which a switch lies between them."""


@dataclass(frozen=True)
class RolloutReport:
    """Cosines between gradients (float32) and central differences (float64) of summed rewards, by horizon."""

    cosine: dict[int, float]
    """For each horizon [control steps], the median over worlds."""
    cosine_32: float
    """Smallest over worlds at a horizon of 32 steps (or the longest tested, if shorter), away from switching."""
    switching_32: int
    """Worlds excluded there, because differences of two widths disagree."""
    horizon_of_trust: int
    """Longest tested horizon up to which the median cosine never falls under 0.9."""
    horizon_tested: int
    diverged: int
    """Worlds that left the finite range during the nominal rollout."""
    not_finite: tuple[str, ...] = ()
    """Where a gradient is not finite: the first step with a function that has no derivative, and its point."""


def check_rollout(
    make: Callable[..., Env],
    *,
    num_envs: int = 8,
    horizon: int = 64,
    warmup: int = 40,
    seed: int = 0,
    progress: Progress | None = None,
) -> RolloutReport:
    """Gradient of the summed reward with respect to all actions, in float32, against differences in float64.

    Rewards count to the end of the episode in which each world starts. All perturbed copies of a step run as worlds of
    one large environment, so the cost is about ``horizon**2 / 2`` steps of ``4 num_envs num_actions`` worlds. More than
    32 actions are perturbed along 32 random directions instead.

    Args:
        make: ``make(num_envs=, dtype=) -> Env``.
        num_envs: number of worlds, each with its own cosine.
        horizon: longest window [control steps].
        warmup: number of steps of random actions before the window.
        seed: seed of initial states and actions.
        progress: called with the part of the work that is done, from 0 to 1.
    """
    work = Subject(make(num_envs=num_envs, dtype="float32"), seed, warmup)
    state = work.after(warmup)
    actions = np.stack([to_numpy(action) for action in work.actions(horizon)])
    horizons = sorted({min(2**k, horizon) for k in range(horizon.bit_length() + 1)} | {min(32, horizon)})

    along = probes(actions.shape[2], _MOST, work.random)
    exact, alive, diverged = _window(work, state, actions, horizons)
    not_finite = () if all(np.isfinite(x).all() for x in exact.values()) else _without_derivative(work, state, actions)
    exact = {h: gradient @ along.T for h, gradient in exact.items()}
    narrow, wide = _differences(make, state, actions, along, horizons, alive, seed, progress)
    cosine = {h: float(np.median(_cosine(exact[h], narrow[h]))) for h in horizons}
    at = min(32, horizon)
    clear = _cosine(narrow[at], wide[at]) >= _AGREE
    each = _cosine(exact[at], narrow[at])
    trusted = 0
    for h in horizons:
        if not cosine[h] >= 0.9:
            break
        trusted = h
    return RolloutReport(
        cosine=cosine,
        cosine_32=float(each[clear].min()) if clear.any() else float(np.median(each)),
        switching_32=int((~clear).sum()),
        horizon_of_trust=trusted,
        horizon_tested=horizon,
        diverged=diverged,
        not_finite=not_finite,
    )


def _without_derivative(work: Subject, state: EnvState, actions: Numbers) -> tuple[str, ...]:
    for t, values in enumerate(actions):
        action = from_numpy(values, state.t)
        if faults := derivative_faults(work.env, state, action):
            return tuple(f"step {t}: {fault}" for fault in faults)
        state = work.step(state, action).state
    return ("the gradient is not finite; every function of the task has one",)


def _window(
    work: Subject, state: EnvState, actions: Numbers, horizons: list[int]
) -> tuple[dict[int, Numbers], Numbers, int]:
    """Gradients ``[T, N, na]`` by horizon; the steps that count ``[T, N]``; the number of diverged worlds."""
    horizon, num_envs = actions.shape[:2]
    alive = np.ones((horizon, num_envs), dtype=bool)
    diverged = np.zeros(num_envs, dtype=bool)
    given = [from_numpy(action, state.t) for action in actions]
    for t, (_, (_, transition)) in enumerate(work.run(state, given)):
        diverged |= to_numpy(transition.diverged) & alive[t]
        alive[t + 1 :] &= ~to_numpy(transition.terminated | transition.truncated)

    def summed(inputs: Array, length: int) -> Array:
        now, total = state, None
        for t in range(length):
            now, transition = work.env.step(now, inputs[t])
            part = (transition.reward * from_numpy(alive[t].astype(work.dtype), state.t)).sum()
            total = part if total is None else total + part
        return total

    tensor = from_numpy(actions, state.t)
    gradients = {h: to_numpy(value_and_grad(lambda x, h=h: summed(x, h), tensor)[1]) for h in horizons}
    return gradients, alive, int(diverged.sum())


def _differences(
    make: Callable[..., Env],
    state: EnvState,
    actions: Numbers,
    along: Numbers,
    horizons: list[int],
    alive: Numbers,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[int, Numbers], dict[int, Numbers]]:
    """Central differences ``[T, N, K]`` along ``K`` directions of the actions, by horizon, at two widths."""
    horizon, num_envs, num_actions = actions.shape
    signs = np.array([_H, -_H, 10 * _H, -10 * _H])
    copies = len(signs) * len(along)
    large = Subject(make(num_envs=copies * num_envs, dtype="float64"), seed, 1)
    shift = np.repeat((signs[:, None, None] * along).reshape(copies, num_actions), num_envs, axis=0)

    def tiled(values: Numbers) -> Numbers:
        return np.tile(values, (copies,) + (1,) * (values.ndim - 1))

    def widened(leaf: Array, like: Array) -> Array:
        dtype = np.float64 if to_numpy(leaf).dtype.kind == "f" else to_numpy(leaf).dtype
        return from_numpy(tiled(to_numpy(leaf).astype(dtype)), like)

    names = ("physics", "task", "t", "episode", "constants")
    parts = {name: tree_map(widened, getattr(state, name), getattr(large.start, name)) for name in names}
    nominal = large.start._replace(**parts)
    given = [tiled(action.astype(np.float64)) for action in actions]
    differences = np.zeros((2, len(horizons), horizon, num_envs, len(along)))
    for t in range(horizon):
        if progress:
            progress(1 - ((horizon - t) / horizon) ** 2)
        perturbed = [from_numpy(given[t] + shift, nominal.t)]
        perturbed += [from_numpy(action, nominal.t) for action in given[t + 1 :]]
        total = np.zeros((len(signs), len(along), num_envs))
        for k, (_, (_, transition)) in enumerate(large.run(nominal, perturbed), start=t):
            total += to_numpy(transition.reward).reshape(total.shape) * alive[k]
            if k + 1 in horizons:
                change = (total[0::2] - total[1::2]) / (2 * signs[0::2, None, None])
                differences[:, horizons.index(k + 1), t] = np.moveaxis(change, 1, 2)
        nominal, _ = large.step(nominal, from_numpy(given[t], nominal.t))
    narrow, wide = differences
    return dict(zip(horizons, narrow, strict=True)), dict(zip(horizons, wide, strict=True))


def _cosine(a: Numbers, b: Numbers) -> Numbers:
    """Cosine for each world of ``[T, N, K]`` arrays; two zero vectors agree."""
    dot, aa, bb = ((x.astype(np.float64) * y).sum(axis=(0, 2)) for x, y in ((a, b), (a, a), (b, b)))
    both_zero = (aa == 0) & (bb == 0)
    return np.where(both_zero, 1.0, dot / np.maximum(np.sqrt(aa * bb), 1e-300))
