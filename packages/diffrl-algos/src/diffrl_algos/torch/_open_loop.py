"""What is shared by algorithms that improve the actions of an episode rather than a policy's parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, Transition, stop_gradient


class CutEnv:
    """The worlds with gradients through their state cut before every ``length``-th step."""

    def __init__(self, env: Env, length: int) -> None:
        self._env, self._length, self._step = env, length, 0
        self.spec, self.num_envs = env.spec, env.num_envs

    def reset(self, seed: int) -> tuple[EnvState, Tensor]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        if self._step % self._length == 0:
            state = stop_gradient(state)
        self._step += 1
        return self._env.step(state, action)


class OpenLoopPolicy:
    """Actions by the number of the step, whatever is observed: observations of ``N`` worlds to ``[N, na]``.

    It counts the steps of every world's episode, and begins again after the last one; ``restart`` tells it where an
    episode ended before that, as ``evaluate`` does.
    """

    def __init__(self, actions: Tensor) -> None:
        """``actions [T, na]``."""
        self.actions = actions
        self._t = torch.zeros(0, dtype=torch.int64, device=actions.device)

    def __call__(self, obs: Tensor | Mapping[str, Tensor]) -> Tensor:
        num_envs = len(obs if isinstance(obs, Tensor) else next(iter(obs.values())))
        if len(self._t) != num_envs:
            self._t = torch.zeros(num_envs, dtype=torch.int64, device=self.actions.device)
        action = self.actions[self._t]
        self._t = (self._t + 1) % len(self.actions)
        return action

    def restart(self, done: Tensor | None) -> None:
        """The worlds where ``done [N]`` begin a new episode; all of them if it is None."""
        self._t = torch.where(done, 0, self._t) if done is not None else self._t[:0]


def first_episode(window: Trajectory) -> Tensor:
    """``[T, N]`` bool: the steps of the episode each world began the window with."""
    ended = window.done.long().cumsum(0) - window.done.long()
    return ended == 0


def first_return(window: Trajectory, gamma: float) -> Tensor:
    """``[N]`` discounted reward of the episode each world began the window with, within the window."""
    return gradest.discounted_returns(window.reward, window.done, gamma=gamma)[0]
