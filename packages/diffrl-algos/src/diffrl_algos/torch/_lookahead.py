"""Roll-outs from one step of an episode: pairs with gradients, and what a step along the mean gradient gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState, stop_gradient, tree_map

from .._diagnose._moments import Gain, Numbers, Pairs
from .._diagnose._states import Contacts, contact_names, touching
from ._distributions import Gaussian
from ._gate import LARGEST

SHIFT = 0.2
"""Length of the step that improvement is measured for, in units of the policy's noise: a KL divergence of 0.02 nat."""


@dataclass(frozen=True)
class Subject:
    """A policy and worlds to diagnose it in."""

    env: Env
    """As many worlds as there are states at a step."""
    forks: Env
    """The same task with ``samples`` worlds for each of those."""
    policy: Callable[[Tensor], Gaussian]
    """Observations ``[N, no]`` to the distributions of what ``squash`` makes actions of."""
    squash: Callable[[Tensor], Tensor]
    gamma: float

    @property
    def samples(self) -> int:
        """Roll-outs from a state."""
        return self.forks.num_envs // self.env.num_envs


class Place(NamedTuple):
    """A step of the episodes: where roll-outs start."""

    step: int
    state: EnvState
    obs: Tensor
    reward: Numbers
    """``[W]`` of the step that the policy takes from here."""
    metrics: dict[str, Numbers]
    """``[W]`` of each metric of the task, in that step."""
    contacts: Contacts | None
    """None where the simulator has no robot on a ground."""


class Taken(NamedTuple):
    """Returns ``[L, N]`` of each lookahead, and whether they count ``[L, N]``."""

    returns: Tensor
    fine: Tensor


@torch.no_grad()
def places(subject: Subject, at: Sequence[int], generator: torch.Generator, seed: int) -> list[Place]:
    """The states before the steps ``at`` (sorted) of episodes of the stochastic policy."""
    env, found = subject.env, []
    names = contact_names(env)
    state, obs = env.reset(seed)
    for step in range(at[-1] + 1):
        here = (state, obs)
        policy = subject.policy(obs)
        state, transition = env.step(state, subject.squash(_drawn(policy, _noise(generator, policy.mean))))
        obs: Any = transition.obs
        if step in at:
            metrics = {name: _numpy(value) for name, value in transition.metrics.items()}
            contacts = Contacts(names, *(touching(env, s.physics) for s in (here[0], state))) if names else None
            found.append(Place(step, *here, _numpy(transition.reward), metrics, contacts))
    return found


def pairs_from(subject: Subject, place: Place, lookaheads: Sequence[int], generator: torch.Generator) -> list[Pairs]:
    """Pairs of roll-outs from one place, and their gradients, for each of the rising ``lookaheads``."""
    w, m = subject.env.num_envs, subject.samples
    state, obs = _forked(place, subject)
    like = subject.policy(obs).mean
    later = _noise(generator, like, lookaheads[-1], w, m // 2)
    first = later[0].clone()
    noise = torch.stack([later, later], dim=3)
    noise[0, :, :, 1] = -first
    shift = torch.zeros_like(like, requires_grad=True)
    taken = roll_out(subject, state, obs, noise.flatten(1, 3), shift, lookaheads)
    found, eps = [], _numpy(first)
    for k, returns in enumerate(taken.returns.unbind(0)):
        gradient = torch.zeros_like(like)
        if returns.requires_grad:
            keep = k + 1 < len(lookaheads)
            (gradient,) = torch.autograd.grad(torch.where(taken.fine[k], returns, 0.0).sum(), shift, retain_graph=keep)
        usable = taken.fine[k] & (gradient.abs() < LARGEST).all(-1)
        shape = (w, m // 2, 2)
        parts = [_numpy(part).reshape(shape) for part in (returns, taken.fine[k], usable)]
        found.append(Pairs(eps, _numpy(gradient).reshape(*shape, -1), *parts))
    return found


@torch.no_grad()
def gains_from(
    subject: Subject, place: Place, pairs: Sequence[Pairs], lookaheads: Sequence[int], generator: torch.Generator
) -> list[Gain]:
    """What a step along the mean gradient of each state gains from it on, for each lookahead."""
    w, m = subject.env.num_envs, subject.samples
    state, obs = _forked(place, subject)
    like = subject.policy(obs).mean
    noise = _noise(generator, like, lookaheads[-1], w * m)
    plain = roll_out(subject, state, obs, noise, torch.zeros_like(like), lookaheads)
    found = []
    for k, (horizon, of) in enumerate(zip(lookaheads, pairs, strict=True)):
        direction, promised = _direction(of)
        shift = torch.from_numpy(SHIFT * direction).to(like).repeat_interleave(m, dim=0)
        moved = roll_out(subject, state, obs, noise[:horizon], shift, [horizon])
        fine = moved.fine[0] & plain.fine[k]
        gained = torch.where(fine, moved.returns[0] - plain.returns[k], torch.nan)
        found.append(Gain(_numpy(gained).reshape(w, m), SHIFT * promised))
    return found


def roll_out(
    subject: Subject, state: EnvState, obs: Any, noise: Tensor, shift: Tensor, lookaheads: Sequence[int]
) -> Taken:
    """Discounted returns until the lookahead, or the end of the episode if that comes first.

    Args:
        subject: policy and worlds.
        state: where it starts.
        obs: what belongs to it.
        noise: ``[H, N, na]``.
        shift: ``[N, na]``, added to the first noise.
        lookaheads: the steps at which returns are taken, rising up to H.
    """
    alive = torch.ones(len(shift), dtype=torch.bool, device=shift.device)
    fine = alive.clone()
    total = torch.zeros_like(shift[:, 0], dtype=torch.float64)
    returns, counts = [], []
    for k, eps in enumerate(noise):
        u = _drawn(subject.policy(obs), eps if k else eps + shift)
        state, transition = subject.forks.step(state, subject.squash(u))
        broken = transition.diverged if transition.valid is None else ~transition.valid
        reward = torch.where(alive & ~broken, transition.reward, 0.0)
        fine = fine & ~(alive & (broken | ~torch.isfinite(transition.reward)))
        total = total + subject.gamma**k * reward.double()
        alive = alive & ~(transition.terminated | transition.truncated)
        obs = transition.obs
        if k + 1 in lookaheads:
            returns.append(total)
            counts.append(fine)
    return Taken(torch.stack(returns), torch.stack(counts))


def _direction(pairs: Pairs) -> tuple[Numbers, Numbers]:
    """Unit vectors ``[W, na]`` along the mean gradient of each state, and the slopes that are promised along them.

    The slope is that of each pair along the mean of the others: along its own mean, noise alone has a slope.
    """
    passed = pairs.passed[..., None]
    f = np.where(passed, pairs.gradient.mean(2), 0.0)
    mean, others = f.sum(1), f.sum(1, keepdims=True) - f
    slope = np.where(pairs.passed, (f * _unit(others)).sum(-1), 0.0).sum(1)
    count = pairs.passed.sum(1)
    return _unit(mean), np.where(count > 1, slope / np.maximum(count, 1), np.nan)


def _unit(x: Numbers) -> Numbers:
    length = np.sqrt((x**2).sum(-1, keepdims=True))
    return np.where(length > 0, x / np.where(length > 0, length, 1.0), 0.0)


def _forked(place: Place, subject: Subject) -> tuple[EnvState, Any]:
    """The place once for each sample, state by state; the seed, a scalar, is for all worlds."""

    def repeat(leaf: Tensor) -> Tensor:
        return leaf.repeat_interleave(subject.samples, dim=0).contiguous() if leaf.ndim else leaf

    return stop_gradient(tree_map(repeat, place.state)), repeat(place.obs)


def _drawn(policy: Gaussian, eps: Tensor) -> Tensor:
    return policy.mean + eps * policy.logstd.exp()


def _noise(generator: torch.Generator, like: Tensor, *before: int) -> Tensor:
    shape = (*before, like.shape[-1]) if before else like.shape
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _numpy(array: Tensor) -> Numbers:
    array = array.detach()
    return (array.double() if array.is_floating_point() else array).cpu().numpy()
