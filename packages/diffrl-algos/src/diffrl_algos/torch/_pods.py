"""PODS, first order: improve the actions of rollouts along the simulator's gradient, then teach them to the policy.

Mora, Peychev, Ha, Vechev & Coros, PODS: Policy Optimization via Differentiable Simulation, ICML 2021, in the version
that Xu et al. 2022 (section 4.2 and A.2.1) compare with: first order, with a line search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Trajectory, rollout

from .._algorithm import Metrics
from .._configs import PODSConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._episodes import Episodes
from ._gate import Gate
from ._mlp import MLP
from ._normalize import RunningStats
from ._open_loop import first_episode, first_return
from ._policy import DeterministicPolicy
from ._schedules import learning_rate
from ._state import from_arrays, to_arrays


class PODSState(NamedTuple):
    """All that a PODS run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    stats: RunningStats
    """Statistics of all observations before the next rollouts; frozen while they are under way."""
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, the last ones seen."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    iteration: int
    env_steps: int
    """Control steps done, those of the line search included."""
    refused: int
    """Updates refused because a return was not finite."""
    diverged: int
    """Worlds that left the finite range, so far; not counted in the line search."""


@dataclass(frozen=True)
class PODS:
    """Policy Optimization via Differentiable Simulation, first order.

    Each update lets the deterministic policy act for ``horizon`` steps from new starts; takes the gradient of every
    rollout's return with respect to its actions, all the others held; goes along it as far as a line search finds the
    return improved; and fits the policy, in ``actor_iterations`` passes, to the improved actions at the states where
    they were taken. What a world does after its episode has ended counts nothing. An update with a return that is
    not finite changes no parameter; it is counted.
    """

    config: PODSConfig = field(default_factory=PODSConfig)
    name: str = field(default="pods", init=False)

    def init(self, env: Env, seed: int) -> PODSState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        env_state, obs = training.begin(env, seed, "PODS", window=self.config.horizon)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        actor = self._mlp(env).init(generator, gain=None).to(obs)
        return PODSState(
            actor=actor, actor_adam=Adam.init(actor), **training.first_fields(env, env_state, obs, generator)
        )

    def update(self, state: PODSState) -> tuple[PODSState, Metrics]:
        """One rollout of every world, improved, and ``actor_iterations`` passes of the actor over it."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: PODSState) -> tuple[PODSState, Metrics]:
        c, env, clock = self.config, state.env, training.Clock()
        generator, mlp = training.generator_of(state), self._mlp(state.env)
        lr = learning_rate(c, c.actor_lr, state.iteration)
        state = training.restart(state, generator)
        shift, scale = training.normalizer(c, state)
        policy, taken, gate = DeterministicPolicy(mlp, state.actor, shift, scale), [], Gate()

        def act(obs: Tensor) -> Tensor:
            taken.append(policy(obs).requires_grad_())
            return gate(taken[-1])

        window, env_state, obs = rollout(env, act, state.env_state, state.obs, c.horizon)
        returns = first_return(window, c.gamma)
        clock.lap("rollout_s")
        grad = torch.stack(torch.autograd.grad(returns.sum(), taken))
        clock.lap("backward_s")

        action = window.action.detach()
        improved, gain, trials = self._improve(state, action, grad, returns.detach())
        clock.lap("line_search_s")
        x = torch.addcmul(shift, window.obs.detach(), scale)
        actor, adam, error, actor_norm = self._imitate(state, window, x, improved, lr, generator)
        clock.lap("actor_s")

        grad_norm = grad.norm()
        accepted = training.all_finite(grad_norm, returns.detach(), actor, x)
        learned = {"actor": actor, "actor_adam": adam}
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        new = new._replace(env_steps=new.env_steps + trials * window.done.numel())
        figures = {
            "actor_loss": error,
            "grad_norm": grad_norm,
            "lost_gradients": gate.lost(returns),
            "actor_grad_norm": actor_norm,
            "gain_mean": gain.mean(),
            "improved": (gain > 0).to(gain.dtype).mean(),
        }
        return new, training.report(new, window, figures, clock, actor_lr=lr, trials=trials)

    def policy(self, state: PODSState, *, deterministic: bool = True, seed: int = 0) -> DeterministicPolicy:
        """The policy of ``state``, with the observation statistics up to now. Nothing about it is random."""
        shift, scale = training.normalizer(self.config, state)
        return DeterministicPolicy(self._mlp(state.env), state.actor, shift, scale)

    def to_arrays(self, state: PODSState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: PODSState, arrays: Mapping[str, np.ndarray]) -> PODSState:
        return from_arrays(state, arrays)

    @torch.no_grad()
    def _improve(self, state: PODSState, action: Tensor, grad: Tensor, returns: Tensor) -> tuple[Tensor, Tensor, int]:
        """Better actions ``[T, N, na]``, what each rollout gained ``[N]``, and how often all worlds were played."""
        c = self.config
        size = grad.square().mean((0, 2)).sqrt()[:, None]
        along = torch.where(size > 0, grad / size, 0.0) * c.step_size
        if c.line_search == 0:
            return (action + along).clamp(-1.0, 1.0), torch.zeros_like(returns), 0
        best, gain = action, torch.zeros_like(returns)
        for k in range(c.line_search):
            tried = (action + 0.5**k * along).clamp(-1.0, 1.0)
            coming = iter(tried.unbind(0))
            played, _, _ = rollout(state.env, lambda _, a=coming: next(a), state.env_state, state.obs, c.horizon)
            gained = first_return(played, c.gamma) - returns
            take = (gain == 0) & (gained > 0)
            best, gain = torch.where(take[:, None], tried, best), torch.where(take, gained, gain)
            if bool((gain > 0).all()):
                return best, gain, k + 1
        return best, gain, c.line_search

    def _imitate(
        self,
        state: PODSState,
        window: Trajectory,
        x: Tensor,
        action: Tensor,
        lr: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, Adam, Tensor, Tensor]:
        """The actor after ``min 1/2 |pi(s) - a|^2`` over the steps that count, and the last error and gradient norm."""
        c, mlp = self.config, self._mlp(state.env)
        counts = first_episode(window)
        x, action = x[counts], action[counts]
        flat, adam, optimizer = state.actor.clone(), state.actor_adam.clone(), Optimizer(c.betas, c.max_grad_norm)
        error = norm = x.new_zeros(())
        for _ in range(c.actor_iterations):
            order = torch.randperm(len(x), generator=generator, device=x.device)
            for rows in order.split(-(-len(order) // c.actor_minibatches)):
                params = flat.detach().requires_grad_()
                guess = torch.tanh(mlp(mlp.split(params), x[rows]))
                error = 0.5 * (guess - action[rows]).square().sum(-1).mean()
                (grad,) = torch.autograd.grad(error, params)
                adam, norm = optimizer.step_(flat, adam, grad, lr)
        return flat, adam, error, norm

    def _mlp(self, env: Env) -> MLP:
        return MLP((env.spec.num_obs, *self.config.actor_hidden, env.spec.num_actions), self.config.activation)
