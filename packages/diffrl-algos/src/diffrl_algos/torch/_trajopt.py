"""Trajectory optimisation: the actions of one episode, improved along the gradient of its reward.

The baseline of Xing et al., Stabilizing Reinforcement Learning in Differentiable Simulation of Deformables, 2024
(Appendix E): one sequence of actions, the same in every world, played back whatever is observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import TrajOptConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._episodes import Episodes
from ._gate import Gate
from ._normalize import RunningStats
from ._observations import flat
from ._open_loop import CutEnv, OpenLoopPolicy, first_episode, first_return
from ._schedules import learning_rate
from ._state import from_arrays, to_arrays


class TrajOptState(NamedTuple):
    """All that a TrajOpt run is: replaced by every update, never changed."""

    env: Env
    actions: Tensor
    """``[T, na]``, one for every control step of an episode."""
    actions_adam: Adam
    stats: RunningStats
    """Statistics of all observations, which nothing here depends on."""
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, the last ones seen."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    iteration: int
    env_steps: int
    refused: int
    """Updates refused because a return was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class TrajOpt:
    """Trajectory optimisation.

    Each update plays the actions in every world from a new start to the time limit, takes one step up the gradient of
    the mean return, which is cut after every ``horizon`` steps, and brings the actions back to [-1, 1]. What a world
    does after its episode has ended counts nothing. An update with a return that is not finite changes no
    action; it is counted.
    """

    config: TrajOptConfig = field(default_factory=TrajOptConfig)
    name: str = field(default="trajopt", init=False)

    def init(self, env: Env, seed: int) -> TrajOptState:
        """The state before the first update: actions of zero.

        Raises:
            ValueError: the environment is not differentiable.
        """
        env = flat(env)
        env_state, obs = training.begin(env, seed, "TrajOpt", window=self.config.horizon)
        actions = obs.new_zeros(env.spec.horizon, env.spec.num_actions)
        generator = torch.Generator().manual_seed(seed)
        return TrajOptState(
            actions=actions, actions_adam=Adam.init(actions), **training.first_fields(env, env_state, obs, generator)
        )

    def update(self, state: TrajOptState) -> tuple[TrajOptState, Metrics]:
        """One episode of every world, one step of the actions."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: TrajOptState) -> tuple[TrajOptState, Metrics]:
        c, env, clock = self.config, state.env, training.Clock()
        generator = training.generator_of(state)
        lr = learning_rate(c, c.action_lr, state.iteration)
        state = training.restart(state, generator)

        actions = state.actions.detach().requires_grad_()
        coming, gate = iter(actions.unbind(0)), Gate()
        window, env_state, obs = rollout(
            CutEnv(env, c.horizon),
            lambda obs: gate(next(coming).expand(env.num_envs, -1)),
            state.env_state,
            state.obs,
            len(actions),
        )
        returns = first_return(window, c.gamma)
        loss = -returns.mean() / len(actions)
        clock.lap("rollout_s")

        (grad,) = torch.autograd.grad(loss, actions)
        optimizer = Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
        improved, adam, grad_norm = optimizer.step(state.actions, state.actions_adam, grad, lr)
        learned = {"actions": improved.clamp(-1.0, 1.0), "actions_adam": adam}
        accepted = training.all_finite(loss.detach(), grad_norm, improved)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("backward_s")
        figures = {
            "actor_loss": loss,
            "grad_norm": grad_norm,
            "lost_gradients": gate.lost(actions.detach()),
            "return_spread": returns.detach().std(correction=0),
            "alive": first_episode(window).to(loss.dtype).mean(),
        }
        return new, training.report(new, window, figures, clock, actor_lr=lr)

    def policy(self, state: TrajOptState, *, deterministic: bool = True, seed: int = 0) -> OpenLoopPolicy:
        """The actions of ``state``, step by step. Nothing about it is random."""
        return OpenLoopPolicy(state.actions)

    def to_arrays(self, state: TrajOptState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: TrajOptState, arrays: Mapping[str, np.ndarray]) -> TrajOptState:
        return from_arrays(state, arrays)
