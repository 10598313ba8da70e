"""One open-loop sequence of actions, by gradients (Xing et al. 2024)

Trajectory optimisation: the baseline of Xing et al., Stabilizing Reinforcement Learning in Differentiable Simulation of
Deformables, 2024 (Appendix E). One sequence of actions is improved along the gradient of its reward. It is the same in
every world and does not depend on observations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from diffsim_core import Env, rollout
from diffsim_core.options import Count, Fraction, NotNegative, Positive

from ..._config import UpdateConfig
from ..._ends import charged
from .._account import Clock, Learned
from .._adam import Adam
from .._gate import gate
from .._learner import Learner
from .._open_loop import OpenLoopPolicy, first_episode, first_return
from .._run_state import State
from .._window import cut_every, lost_share


@dataclass(frozen=True, kw_only=True)
class TrajOptConfig(UpdateConfig):
    """Trajectory optimisation: the actions of one episode, independent of the observations.

    The defaults are those with which Xing et al. 2024 compare (Appendix E). The page of TrajOpt says how it reads what
    they leave open.
    """

    iterations: Count = 50
    """Updates of a full run, each a whole episode of every world."""
    horizon: Count = 32
    """Control steps after which the gradient is cut."""
    gamma: Fraction = 1.0
    """Discount per control step."""
    action_lr: Positive = 1e-2
    """Learning rate of the actions at the first update."""
    lr_schedule: Literal["linear", "constant"] = "constant"
    """How the learning rate changes: linearly to ``lr_end``, or not at all."""
    max_grad_norm: Positive = 0.5
    """A gradient with a larger Euclidean norm is scaled down to this."""
    weight_decay: NotNegative = 0.01
    """Decay of AdamW (the number is torch's default); 0 gives Adam."""

    def steps_of_update(self, num_envs: int, episode: Callable[[], int]) -> int:
        return num_envs * episode()


@dataclass(frozen=True)
class TrajOptState(State):
    """The state of a TrajOpt run. Nothing depends on its observation statistics."""

    actions: Tensor
    """``[T, na]``, one for every control step of an episode."""
    actions_adam: Adam


@dataclass(frozen=True)
class TrajOpt(Learner[TrajOptConfig, TrajOptState]):
    """Trajectory optimisation.

    Each update plays the actions in every world from a new start to the time limit, takes one step up the gradient of
    the mean return, which is cut after every ``horizon`` steps, and clips the actions to [-1, 1]. Steps after the end
    of a world's first episode do not count. An update with a return that is not finite changes no action; it is
    counted.
    """

    config: TrajOptConfig = field(default_factory=TrajOptConfig)
    name: ClassVar[str] = "trajopt"
    state_type = TrajOptState
    flattens: ClassVar[bool] = True

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        actions = obs.new_zeros(env.spec.horizon, env.spec.num_actions)
        return {"actions": actions, "actions_adam": Adam.init(actions)}

    def learn(self, state: TrajOptState, generator: torch.Generator, clock: Clock) -> Learned:
        c, env, lr = self.config, state.env, self.lr(state, self.config.action_lr)
        run = state.run.restart(generator)

        actions = state.actions.detach().requires_grad_()
        lost = actions.new_zeros((len(actions), env.num_envs), requires_grad=True)
        rows = iter(zip(actions.unbind(0), lost.unbind(0), strict=True))

        def act(obs: Tensor) -> Tensor:
            action, lost_here = next(rows)
            return gate(action.expand(env.num_envs, -1), lost_here)

        window, env_state, obs = rollout(env, act, run.env_state, run.obs, len(actions), between=cut_every(c.horizon))
        window = charged(window, c.divergence_price)
        returns = first_return(window, c.gamma)
        loss = -returns.mean() / len(actions)
        clock.lap("rollout_s")

        grad, lost = torch.autograd.grad(loss, [actions, lost], allow_unused=True)
        improved, adam, grad_norm = self.optimizer.step(state.actions, state.actions_adam, grad, lr)
        clock.lap("backward_s")
        return Learned(
            window,
            env_state,
            obs,
            {"actions": improved.clamp(-1.0, 1.0), "actions_adam": adam},
            episodes=run.episodes,
            finite=(loss.detach(), grad_norm, improved),
            metrics={
                "actor_loss": loss,
                "grad_norm": grad_norm,
                "lost_gradients": lost_share(lost, loss.detach()),
                "return_spread": returns.detach().std(correction=0),
                "alive": first_episode(window).to(loss.dtype).mean(),
            },
            host={"actor_lr": lr},
        )

    def policy(self, state: TrajOptState, *, deterministic: bool = True, seed: int = 0) -> OpenLoopPolicy:
        """The actions of ``state``, step by step. They use no random numbers."""
        return OpenLoopPolicy(state.actions)


ALGORITHM = TrajOpt
