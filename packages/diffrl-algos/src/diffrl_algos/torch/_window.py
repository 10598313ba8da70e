"""``explore``: one window of the stochastic policy, with all that an update needs of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Trajectory, rollout, stop_gradient

from .._config import Code
from .._ends import charged, ends_of
from .._processes import size
from . import _distributed as distributed
from ._choice import is_native
from ._credit_graph import CreditGraph
from ._distributions import Gaussian
from ._gate import gate
from ._mixed_graph import MixedGraph
from ._normalize import Normalizer
from ._policy import GaussianActor, native_steps
from ._run_state import RunState

Between = Callable[[int, EnvState, Tensor], tuple[EnvState, Tensor]]
"""``(step, state, obs) -> (state, obs)``, what each step starts from; see ``diffsim_core.rollout``."""


class Sample(NamedTuple):
    """What the policy did in one step, or, stacked, in a window."""

    mean: Tensor
    """``[..., N, na]``."""
    logstd: Any
    """``[..., N, na]`` if it depends on the state, else ``()``: it is a parameter."""
    u: Tensor
    """``[..., N, na]`` actions before tanh."""


class Window(NamedTuple):
    """``T`` steps of the policy in ``N`` worlds, with their graph unless gradients are off."""

    trajectory: Trajectory
    env_state: EnvState
    """After the last step."""
    obs: Tensor
    """``[N, no]`` after the last step."""
    policy: Gaussian
    """Distributions of the actions before tanh, ``[T, N, na]``."""
    u: Tensor
    """``[T, N, na]`` actions before tanh."""
    eps: Tensor
    """``[T, N, na]`` the noise in them."""
    lost: Tensor
    """``[T, N]`` zeros; their gradient counts blocked actions, see ``gate``."""
    push: Any
    """``[T, N, na]`` zeros added to ``u``, or None. Their gradient is that of the actions before tanh."""
    ends: tuple[Tensor, Tensor]
    """``(terminated, done)``, both ``[T, N]``, as learning counts them: see ``ends_of``."""
    links: CreditGraph | MixedGraph | None = None
    """What stands between the steps."""

    @property
    def taken(self) -> Tensor:
        """``[T, N]`` bool: steps of the simulator, whether they ended well or not."""
        steps: Any = self.trajectory
        return steps.valid | steps.diverged

    def targets(self, target: Tensor, value: Tensor) -> Tensor:
        """Value targets ``[T, N]``, given the present ``value`` of the same states (or actions), both without graph.

        A step in which the world diverged gets the lowest target of the valid steps, or its present value if that is
        lower: breaking off must not look better than the worst that was seen. A step that was not taken gets its
        present value, from which nothing is learned.
        """
        steps = self.trajectory
        lowest = torch.where(steps.valid, target, torch.inf).amin(0, keepdim=True)
        lowest = torch.minimum(distributed.worlds(lowest, 1).amin(), value)
        return torch.where(steps.valid, target, torch.where(steps.diverged, lowest, value))


def explore(
    actor: GaussianActor,
    flat: Tensor,
    normalizer: Normalizer,
    run: RunState,
    eps: Tensor,
    *,
    env: Env | None = None,
    between: Between | None = None,
    push: bool = False,
    links: CreditGraph | MixedGraph | None = None,
    price: float | None = None,
    policy_step: Code = "torch",
) -> Window:
    """Let the stochastic policy act for ``len(eps)`` steps from where the last window ended.

    Args:
        actor: the network.
        flat: its parameters; gradients flow to them if they require one.
        normalizer: of observations.
        run: the worlds and where they are; nothing in it changes.
        eps: standard normal noise, ``[T, N, na]``.
        env: worlds to step instead of ``run.env``, which they wrap.
        between: a hook before each step, see ``diffsim_core.rollout``.
        push: make the leaf ``Window.push``.
        links: between the steps, and in the actions where they enter the worlds; not together with ``between``. A
            ``MixedGraph`` stands in the policy too, so torch's operations have to compute it.
        price: of a divergence, see ``charged``.
        policy_step: what computes the policy: torch's operations, or compiled code.
    """
    params = actor.split(flat)
    logstd = params[1]
    native = native_steps(actor, flat) if is_native("policy_step", policy_step, actor.mlp, flat.device) else None
    worlds = env or run.env
    # Where sigma is a parameter, the noise of the whole window is one product.
    noise = eps if logstd is None else eps * logstd.exp()
    lost = torch.zeros_like(eps[..., 0], requires_grad=flat.requires_grad or push)
    pushes = torch.zeros_like(eps, requires_grad=True) if push else None
    rows = enumerate(zip(*(x.unbind(0) for x in (noise, lost, noise if pushes is None else pushes)), strict=True))

    def act(obs: Tensor) -> tuple[Tensor, Sample]:
        step, (e, lost_here, push_here) = next(rows)
        if native is not None:
            mean, spread, u, action = native(normalizer(obs), e, push_here if push else None, lost_here)
        else:
            mean, spread = actor(params, normalizer(obs))
            if isinstance(links, MixedGraph):
                mean, spread = links.draw(step, mean, spread)
            u = mean + (e * spread.exp() if logstd is None else e)
            if push:
                u = u + push_here
            action = gate(torch.tanh(u), lost_here)
        sample = Sample(mean, spread if logstd is None else (), u)
        return action if links is None else links.enter(step, action), sample

    taken = None
    if native is not None and between is None:
        from ._native_window import roll_out

        assert not isinstance(links, MixedGraph)  # compiled code has no place for it
        taken = roll_out(worlds, native, normalizer, run.env_state, run.obs, noise, pushes, lost, links)
    if links is not None:
        between = links.between
    window, env_state, obs = taken or rollout(worlds, act, run.env_state, run.obs, len(eps), between=between)
    sample = Sample(*window.aux)
    policy = Gaussian(sample.mean, sample.logstd if logstd is None else logstd)
    window = charged(window._replace(aux=sample), price)
    return Window(window, env_state, obs, policy, sample.u, eps, lost, pushes, ends_of(window), links)


def normal(generator: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """Standard normal numbers ``[..., N, na]`` with the dtype and on the device of ``like``."""
    *before, worlds, last = shape
    whole = (*before, worlds * size(), last)
    return distributed.mine(torch.randn(whole, generator=generator, dtype=like.dtype, device=like.device), -2)


def cut_every(length: int) -> Between:
    """A hook that cuts the gradients through the worlds' state before every ``length``-th step."""

    def between(step: int, state: EnvState, obs: Tensor) -> tuple[EnvState, Tensor]:
        return (stop_gradient(state), obs.detach()) if step % length == 0 else (state, obs)

    return between


def lost_share(lost: Tensor | None, like: Tensor) -> Tensor:
    """The share of actions whose gradients were blocked, from the gradient of ``Window.lost``; a scalar."""
    return torch.zeros_like(like) if lost is None else (lost.sum() / lost.numel()).to(like.dtype)


def gradients(of: Tensor, parameters: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """The gradient of a scalar with respect to flat parameters, and the share of actions whose part was blocked."""
    grad, lost = torch.autograd.grad(of, [parameters, window.lost], allow_unused=True)
    if grad is None:
        raise RuntimeError("the objective does not depend on the parameters")
    return grad, lost_share(lost, of.detach())
