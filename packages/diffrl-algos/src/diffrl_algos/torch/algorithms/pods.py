"""Policy optimisation via differentiable simulation, first order (Mora et al. 2021)

The actions of rollouts are improved along the simulator's gradient and then taught to the policy. Mora, Peychev, Ha,
Vechev & Coros, PODS: Policy Optimization via Differentiable Simulation, ICML 2021, in the version that Xu et al. 2022
(section 4.2 and A.2.1) compare with: first order, with a line search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim_core import Env, Trajectory, rollout
from diffsim_core.options import Count, Index, Positive

from ..._config import WindowConfig
from ..._ends import charged
from .._account import Clock, Learned
from .._adam import Adam
from .._gate import gate
from .._learner import Learner
from .._mlp import MLP
from .._networks import deterministic_actor
from .._open_loop import first_episode, first_return, is_whole
from .._policy import DeterministicPolicy
from .._run_state import ActorState, RunState
from .._window import lost_share


@dataclass(frozen=True, kw_only=True)
class PODSConfig(WindowConfig):
    """Policy Optimization via Differentiable Simulation, the first-order version (Mora et al. 2021).

    The defaults are ours; the page of TrajOpt and PODS says why.
    """

    horizon: Count = 128
    """Control steps of a rollout, which starts with new episodes."""
    step_size: Positive = 0.3
    """Largest change of a rollout's actions along its gradient, as a root mean square over its steps."""
    line_search: Index = 8
    """Largest number of step sizes to try, each half of the one before; the first that improves the return is used.
    With 0, ``step_size`` is used without a try."""
    actor_lr: Positive = 2e-3
    """Learning rate of the actor at the first update."""
    actor_iterations: Count = 8
    """Epochs over the rollouts in which the actor learns the improved actions."""
    actor_minibatches: Count = 4
    """Minibatches in an epoch, drawn at random."""

    def steps_of_update(self, num_envs: int, episode: Callable[[], int]) -> int:
        return num_envs * self.horizon * (1 + self.line_search)


@dataclass(frozen=True)
class PODS(Learner[PODSConfig, ActorState]):
    """Policy Optimization via Differentiable Simulation, first order.

    Each update lets the deterministic policy act for ``horizon`` steps from new starts; takes the gradient of every
    rollout's return with respect to its actions, each action independent of the others; moves the actions along it as
    far as a line search finds the return improved; and fits the policy, in ``actor_iterations`` epochs, to the improved
    actions at the states where they were taken. Steps after the end of a world's first episode do not count. An update
    with a return that is not finite changes no parameter; it is counted. ``env_steps`` contains the steps of the line
    search, ``diverged`` does not.
    """

    config: PODSConfig = field(default_factory=PODSConfig)
    name: ClassVar[str] = "pods"
    state_type = ActorState

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        actor = self.actor(env).init(generator, gain=None).to(obs)
        return {"actor": actor, "actor_adam": Adam.init(actor)}

    def actor(self, env: Env) -> MLP:
        """The actor's network."""
        return deterministic_actor(self.config, env)

    def learn(self, state: ActorState, generator: torch.Generator, clock: Clock) -> Learned:
        """See ``Learner.learn``. The line search decides on the host, so it reads numbers."""
        c, env, lr = self.config, state.env, self.lr(state, self.config.actor_lr)
        run = state.run.restart(generator)
        normalize = run.normalizer(c)
        policy = DeterministicPolicy(self.actor(env), state.actor, normalize)
        # Added to each action, so that its gradient is the action's.
        push = run.obs.new_zeros((c.horizon, env.num_envs, env.spec.num_actions), requires_grad=True)
        lost = torch.zeros_like(push[..., 0], requires_grad=True)
        rows = iter(zip(push.unbind(0), lost.unbind(0), strict=True))

        def act(obs: Tensor) -> Tensor:
            push_here, lost_here = next(rows)
            return gate(policy(obs) + push_here, lost_here)

        window, env_state, obs = rollout(env, act, run.env_state, run.obs, c.horizon)
        window = charged(window, c.divergence_price)
        returns = first_return(window, c.gamma)
        clock.lap("rollout_s")
        grad, lost = torch.autograd.grad(returns.sum(), [push, lost], allow_unused=True)
        clock.lap("backward_s")

        improved, gain, trials = self._improve(run, window, grad, returns.detach())
        clock.lap("line_search_s")
        x = normalize(window.obs.detach())
        # A rollout that still breaks off is no example.
        counts = first_episode(window) & (is_whole(window) | (gain != 0))
        actor, adam, error, actor_norm = self._imitate(state, x, improved, counts, lr, generator)
        clock.lap("actor_s")
        grad_norm = grad.norm()
        return Learned(
            window,
            env_state,
            obs,
            {"actor": actor, "actor_adam": adam},
            episodes=run.episodes,
            extra_steps=trials * window.done.numel(),
            finite=(grad_norm, returns.detach(), actor, x),
            metrics={
                "actor_loss": error,
                "grad_norm": grad_norm,
                "lost_gradients": lost_share(lost, returns.detach().mean()),
                "actor_grad_norm": actor_norm,
                "gain_mean": gain.mean(),
                "improved": (gain > 0).to(gain.dtype).mean(),
            },
            host={"actor_lr": lr, "trials": trials},
        )

    def policy(self, state: ActorState, *, deterministic: bool = True, seed: int = 0) -> DeterministicPolicy:
        """The policy of ``state``, with its observation statistics. It uses no random numbers."""
        return DeterministicPolicy(self.actor(state.env), state.actor, state.run.normalizer(self.config))

    @torch.no_grad()
    def _improve(self, run: RunState, window: Trajectory, grad: Tensor, returns: Tensor) -> tuple[Tensor, Tensor, int]:
        """Better actions ``[T, N, na]``, the gain of each rollout ``[N]``, and how often all worlds were simulated.

        A rollout that breaks off is no improvement, whatever it earned until then.
        """
        c, action, whole = self.config, window.action.detach(), is_whole(window)
        size = grad.square().mean((0, 2)).sqrt()[:, None]
        direction = torch.where(size > 0, grad / size, 0.0) * c.step_size
        if c.line_search == 0:
            return (action + direction).clamp(-1.0, 1.0), torch.zeros_like(returns), 0
        best, gain = action, torch.zeros_like(returns)
        for k in range(c.line_search):
            trial = (action + 0.5**k * direction).clamp(-1.0, 1.0)
            actions = iter(trial.unbind(0))
            tried, _, _ = rollout(run.env, lambda _, a=actions: next(a), run.env_state, run.obs, c.horizon)
            tried = charged(tried, c.divergence_price)
            gained = first_return(tried, c.gamma) - returns
            take = (gain == 0) & is_whole(tried) & ((gained > 0) | ~whole)
            best, gain = torch.where(take[:, None], trial, best), torch.where(take, gained, gain)
            if bool((gain > 0).all()):
                return best, gain, k + 1
        return best, gain, c.line_search

    def _imitate(
        self,
        state: ActorState,
        x: Tensor,
        action: Tensor,
        counts: Tensor,
        lr: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, Adam, Tensor, Tensor]:
        """The actor after ``min 1/2 |pi(s) - a|^2`` over the steps that count, and the last error and gradient norm."""
        c, mlp = self.config, self.actor(state.env)
        x, action = x[counts], action[counts]
        flat, adam, optimizer = state.actor.clone(), state.actor_adam.clone(), self.optimizer
        error = norm = x.new_zeros(())
        for _ in range(c.actor_iterations if len(x) else 0):
            order = torch.randperm(len(x), generator=generator, device=x.device)
            for rows in order.split(-(-len(order) // c.actor_minibatches)):
                params = flat.detach().requires_grad_()
                output = torch.tanh(mlp(mlp.split(params), x[rows]))
                error = 0.5 * (output - action[rows]).square().sum(-1).mean()
                (grad,) = torch.autograd.grad(error, params)
                adam, norm = optimizer.step_(flat, adam, grad, lr)
        return flat, adam, error.detach(), norm


ALGORITHM = PODS
