"""Roll-outs of a Gaussian policy whose gradients are compared: with the simulator's gradients, and without.

All gradients are with respect to the parameters ``theta [P]`` of the policy along ``K`` fixed directions. Parameters
enter only through the distributions of the actions before squashing, ``u = mu + sigma eps``. So the derivative of a
return along a direction is that by ``(mu, log sigma)`` of every step, times the derivative of those along the
direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrl_algos.torch._distributions import Gaussian
from diffsim_core import Env, EnvState, stop_gradient


@dataclass(frozen=True)
class Subject:
    """A policy and the objective that its gradient is of."""

    policy: Callable[[Tensor, Tensor], Gaussian]
    """``policy(theta [P], obs [..., no])``: distributions of the actions before squashing."""
    theta: Tensor
    """``[P]``."""
    gamma: float
    """Discount per control step."""
    squash: Callable[[Tensor], Tensor] = torch.tanh
    """What makes actions of what is drawn."""


class Start(NamedTuple):
    """Where roll-outs of ``N`` worlds begin."""

    state: EnvState
    obs: Tensor


class Rolled(NamedTuple):
    """``T`` steps of ``N`` worlds; nothing counts after the end of an episode."""

    obs: Tensor
    """``[T, N, no]``, without graph."""
    reward: Tensor
    """``[T, N]``, step ``t`` discounted ``t`` times; 0 where nothing counts. With a graph where there is a push."""
    taken: Tensor
    """``[T, N]`` bool: the episode had not ended before the step."""
    fine: Tensor
    """``[T, N]`` bool: the world was within the finite range up to and with the step."""


class Batch(NamedTuple):
    """What estimators are made of, up to one horizon ``H``, of ``N`` worlds."""

    by_action: Tensor
    """``[H, N, na]`` gradient of the return by ``u``, through the simulator and the later actions."""
    blocked: Tensor
    """``[H, N]`` bool: where it is not finite; it is 0 there."""
    reward: Tensor
    """``[H, N]``, as in ``Rolled``."""
    calm: Tensor
    """``[H, N]``: the same of a roll-out without noise."""
    eps: Tensor
    """``[H, N, na]``."""
    std: Tensor
    """``[H, N, na]``."""
    taken: Tensor
    """``[H, N]`` bool."""
    fine: Tensor
    """``[N]`` bool: within the finite range, and without noise too."""
    basis: Tensor
    """``[K, H, N, 2 na]``: means and log deviations of the actions, differentiated along each direction."""

    def of(self, worlds: Tensor) -> Batch:
        """Some of the worlds, by a mask ``[N]``."""
        return Batch(*(x.index_select(axis, worlds.nonzero()[:, 0]) for x, axis in zip(self, _WORLDS, strict=True)))

    @classmethod
    def joined(cls, parts: Sequence[Batch]) -> Batch:
        """The worlds of all parts."""
        return cls(*(torch.cat(each, dim=axis) for each, axis in zip(zip(*parts, strict=True), _WORLDS, strict=True)))


_WORLDS = (1, 1, 1, 1, 1, 1, 1, 0, 2)
"""The axis of worlds of each part of a batch."""


def drawn(subject: Subject, theta: Tensor, obs: Tensor, eps: Tensor) -> Tensor:
    """What the policy draws with noise ``eps [N, na]``."""
    policy = subject.policy(theta, obs)
    return policy.mean + eps * policy.logstd.exp()


@torch.no_grad()
def begin(subject: Subject, env: Env, seed: int, steps: int, generator: torch.Generator) -> Start:
    """The worlds of a seed after ``steps`` of the policy. Those whose episodes ended are in a later one."""
    state, obs = env.reset(seed)
    for _ in range(steps):
        eps = noise(generator, subject.theta, env.num_envs, env.spec.num_actions)
        state, after = env.step(state, subject.squash(drawn(subject, subject.theta, obs, eps)))
        obs: Any = after.obs
    return Start(stop_gradient(state), obs)


def roll_out(
    subject: Subject, env: Env, start: Start, eps: Tensor, theta: Tensor, push: Sequence[Tensor] | None = None
) -> Rolled:
    """Roll out with the noise ``eps [T, N, na]``; ``push`` has for each step what is added to ``u``."""
    state, obs = start
    taken = torch.ones(env.num_envs, dtype=torch.bool, device=eps.device)
    fine = taken
    seen, rewards, counts, whole = [], [], [], []
    for t, drawing in enumerate(eps):
        u = drawn(subject, theta, obs, drawing)
        seen.append(obs.detach())
        state, after = env.step(state, subject.squash(u if push is None else u + push[t]))
        kept = ~after.diverged if after.valid is None else after.valid
        kept = kept & torch.isfinite(after.reward)
        fine = fine & (kept | ~taken)
        rewards.append(torch.where(taken & fine, subject.gamma**t * after.reward, 0.0))
        counts.append(taken)
        whole.append(fine)
        taken = taken & ~(after.terminated | after.truncated)
        obs: Any = after.obs
    return Rolled(*(torch.stack(parts) for parts in (seen, rewards, counts, whole)))


def batches(
    subject: Subject, env: Env, start: Start, eps: Tensor, horizons: Sequence[int], directions: Tensor
) -> dict[int, Batch]:
    """One roll-out, and its gradients up to each horizon.

    Args:
        subject: policy and objective.
        env: worlds.
        start: where they begin.
        eps: noise ``[T, N, na]``, with ``T`` the largest horizon.
        horizons: in rising order.
        directions: ``[K, P]``.
    """
    push = [torch.zeros_like(drawing).requires_grad_() for drawing in eps]
    rolled = roll_out(subject, env, start, eps, subject.theta, push)
    found = {h: _by_action(rolled, push, h, last=h == horizons[-1]) for h in horizons}
    with torch.no_grad():
        calm = roll_out(subject, env, start, torch.zeros_like(eps), subject.theta)
        std = subject.policy(subject.theta, rolled.obs).logstd.exp().broadcast_to(eps.shape)
    along = basis(subject, rolled.obs, directions)
    reward = rolled.reward.detach()
    made = {}
    for h, slope in found.items():
        finite = torch.isfinite(slope).all(-1)
        made[h] = Batch(
            by_action=torch.where(finite[..., None], slope, 0.0),
            blocked=~finite,
            reward=reward[:h],
            calm=calm.reward[:h],
            eps=eps[:h],
            std=std[:h],
            taken=rolled.taken[:h],
            fine=rolled.fine[h - 1] & calm.fine[h - 1],
            basis=along[:, :h],
        )
    return made


def basis(subject: Subject, obs: Tensor, directions: Tensor) -> Tensor:
    """Derivatives of ``(mu, log sigma)`` at ``obs [T, N, no]`` along each of ``directions``, ``[K, T, N, 2 na]``."""

    theta = subject.theta.detach().requires_grad_()
    with torch.enable_grad():
        policy = subject.policy(theta, obs)
        outputs = torch.cat([policy.mean, policy.logstd.expand_as(policy.mean)], dim=-1)
        # A vector-Jacobian product is linear in its vector, and its derivative by it is the other product.
        vector = torch.zeros_like(outputs).requires_grad_()
        (pulled,) = torch.autograd.grad(outputs, theta, vector, create_graph=True)
        pushed = [torch.autograd.grad(pulled, vector, d, retain_graph=True)[0] for d in directions]
    return torch.stack(pushed)


def noise(generator: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """Standard normal numbers of the dtype and device of ``like``."""
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _by_action(rolled: Rolled, push: Sequence[Tensor], horizon: int, *, last: bool) -> Tensor:
    """Gradient of each world's return up to ``horizon`` by ``u``, ``[H, N, na]``."""
    value = rolled.reward[:horizon].sum()
    grads = torch.autograd.grad(value, push[:horizon], retain_graph=not last, allow_unused=True)
    # No gradient at all means that nothing follows: the episode ended before this step in every world.
    return torch.stack([torch.zeros_like(p) if g is None else g for p, g in zip(push, grads, strict=False)])
