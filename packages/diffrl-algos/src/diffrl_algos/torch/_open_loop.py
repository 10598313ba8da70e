"""Policies and returns of algorithms that improve the actions of an episode, not the parameters of a policy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

import gradest
from diffsim_core import Trajectory


class OpenLoopPolicy:
    """Actions that depend on the number of the step only, not on observations: ``[N, no] -> [N, na]``.

    It counts the steps of every world's episode and starts again after the last action. ``restart`` tells it where an
    episode ended before that; ``evaluate`` calls it.
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
        """Start a new episode in the worlds where ``done [N]``; in all of them if it is None."""
        self._t = torch.where(done, 0, self._t) if done is not None else self._t[:0]


def first_episode(window: Trajectory) -> Tensor:
    """``[T, N]`` bool: the steps of each world's first episode in the window."""
    ended = window.done.long().cumsum(0) - window.done.long()
    return ended == 0


def is_whole(window: Trajectory) -> Tensor:
    """``[N]`` bool: every step of each world's first episode is valid."""
    return (window.valid | ~first_episode(window)).all(0)


def first_return(window: Trajectory, gamma: float) -> Tensor:
    """``[N]`` discounted return of each world's first episode in the window."""
    return gradest.discounted_returns(window.reward, window.done, gamma=gamma)[0]
