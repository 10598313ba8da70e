"""The loss of whole episodes and that of SHAC as functions of the actor's parameters, in the same worlds each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import gradest
from diffrl_algos.torch import SHAC
from diffrl_algos.torch._run_state import RunState, TargetState
from diffrl_algos.torch._window import Window, explore, gradients, normal
from diffsim_core import Env

LOSSES = ("episode", "window")


@dataclass(frozen=True)
class Losses:
    """Two losses as functions of the actor's parameters ``[P]``: of the same worlds and noise in every call."""

    shac: SHAC
    state: TargetState
    """Of the run; its worlds are at the start of their episodes."""
    here: RunState
    """Where the window begins."""
    eps: Tensor
    """``[T, N, na]``, the noise of the episode."""
    window_eps: Tensor
    """``[h, N, na]``."""

    @property
    def actor(self) -> Tensor:
        """The parameters of the trained actor ``[P]``."""
        return self.state.actor.detach()

    def episode(self, flat: Tensor) -> tuple[Tensor, Window]:
        """Minus the mean reward of a step; what follows the end of an episode has none."""
        window = self._explore(flat, self.state.run, self.eps)
        terminated, done = window.ends
        ended = (terminated | done).cumsum(0) > 0
        counts = torch.cat([torch.ones_like(ended[:1]), ~ended[:-1]])
        steps: Any = window.trajectory
        return -torch.where(counts & steps.valid, steps.reward, 0.0).mean(), window

    def window(self, flat: Tensor) -> tuple[Tensor, Window]:
        """Eq. 5, with the run's target critic."""
        window = self._explore(flat, self.here, self.window_eps)
        steps: Any = window.trajectory
        critic, c = self.shac.critic(self.state.env), self.shac.config
        value_next = critic(self.state.target, self.here.normalizer(c)(steps.final_obs))[0]
        return -gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma), window

    def of(self, name: str, flat: Tensor) -> float:
        """The number of one of ``LOSSES``."""
        with torch.no_grad():
            return float(getattr(self, name)(flat)[0])

    def gradient(self, name: str, flat: Tensor) -> tuple[Tensor, float]:
        """Its gradient ``[P]``, and the share of actions whose part of it was not finite and is left out."""
        leaf = flat.detach().requires_grad_()
        value, window = getattr(self, name)(leaf)
        grad, lost = gradients(value, leaf, window)
        return grad, float(lost)

    def _explore(self, flat: Tensor, run: RunState, eps: Tensor) -> Window:
        c = self.shac.config
        return explore(
            self.shac.actor(run.env),
            flat,
            run.normalizer(c),
            run,
            eps,
            price=c.divergence_price,
            policy_step=c.policy_step,
        )


def open_losses(shac: SHAC, state: TargetState, env: Env, *, steps: int | None, begin: int, seed: int) -> Losses:
    """The losses of a state of SHAC in the worlds ``env``.

    Args:
        shac: the algorithm.
        state: its state, in any worlds of the task.
        env: the worlds.
        steps: control steps of an episode; None for the task's.
        begin: control steps of the policy before the window.
        seed: names the worlds and the noise.
    """
    env_state, obs = env.reset(seed)
    run = state.run._replace(env=env, env_state=env_state, obs=obs)
    generator = torch.Generator(obs.device).manual_seed(seed)
    shape = (env.num_envs, env.spec.num_actions)
    before, eps, window_eps = (
        normal(generator, obs, length, *shape) for length in (begin, steps or env.spec.horizon, shac.config.horizon)
    )
    losses = Losses(shac, state.replace(run=run), run, eps, window_eps)
    if begin:
        with torch.no_grad():
            window = losses._explore(losses.actor, run, before)
        losses = Losses(shac, losses.state, run._replace(env_state=window.env_state, obs=window.obs), eps, window_eps)
    return losses
