"""What SAC and TD3 share: windows without gradients, batches from the replay buffer, Q functions and their targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Trajectory, rollout
from diffsim_core.options import Count, Fraction, Index, NotNegative, Positive

from .._config import Activation, Decay, FitConfig, Widths
from .._ends import charged
from ._account import Clock, Learned, all_finite
from ._adam import Adam
from ._critic import Critic
from ._fit import fits_natively, step_
from ._learner import Learner
from ._networks import q_critic
from ._replay import Replay
from ._run_state import TargetState


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(FitConfig):
    """Fields that SAC and TD3 share, with the values of Xing et al. 2024 for SAC (Table 2) for their defaults.

    ``horizon`` steps of every world and ``updates`` gradient steps take turns, so there are
    ``updates / (num_envs * horizon)`` gradient steps for each control step.
    """

    actor_lr: Positive = 5e-4
    """Learning rate of the actor at the first update."""
    lr_schedule: Literal["linear", "constant"] = "constant"
    """How the learning rates change: linearly to ``lr_end``, or not at all."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of Adam's moments, for all networks."""
    max_grad_norm: Positive = 0.5
    """Gradients with a larger Euclidean norm are scaled down to this, for each optimiser."""
    weight_decay: NotNegative = 0.01
    """Decay of AdamW, for actor and Q functions (the number is torch's default); 0 gives Adam."""
    activation: Activation = "silu"
    """Activation function of each hidden layer, for all networks."""
    critic_hidden: Widths = (128, 128)
    """Widths of the Q functions' hidden layers."""
    critic_lr: Positive = 5e-4
    """Learning rate of the Q functions at the first update."""
    num_critics: Count = 2
    """Number of Q functions, each fitted to the same targets; the least of their values is used."""
    target_alpha: Fraction = 0.995
    """Share of the target networks kept at each gradient step: 1 - tau."""
    replay_size: Count = 1_000_000
    """Steps that the buffer keeps, summed over worlds."""
    batch_size: Count = 2048
    """Steps drawn from the buffer for a gradient step."""
    updates: Count = 8
    """Gradient steps after each window."""
    n_step: Count = 3
    """Rewards in a target before the Q functions' value; fewer where an episode ends."""
    reward_scale: Positive = 1.0
    """Rewards are multiplied by this for learning; reported returns are not. Q functions with large values learn
    slowly, and the temperature is relative to them."""
    warmup_steps: Index = 32
    """Control steps of every world with random actions before learning starts, in whole windows."""


@dataclass(frozen=True)
class OffPolicyState(TargetState):
    """The state of a run with Q functions and a replay buffer. The buffer's rows are shared; see ``Replay``."""

    replay: Replay
    """The steps up to the present observation, as the worlds gave them."""


class Batch(NamedTuple):
    """The data of one gradient step; observations are normalised."""

    x: Tensor
    """``[B, no]``."""
    action: Tensor
    """``[B, na]``."""
    reward: Tensor
    """``[B]``, discounted over up to ``n_step`` steps, times ``reward_scale``."""
    discount: Tensor
    """``[B]``, factor of the value of ``x_next``."""
    x_next: Tensor
    """``[B, no]``; ``x`` where the step diverged."""
    diverged: Tensor
    """``[B]`` bool: a step that left the finite range; reward and discount mean nothing then."""


ConfigT = TypeVar("ConfigT", bound=OffPolicyConfig)
StateT = TypeVar("StateT", bound=OffPolicyState)
Steps = tuple[dict[str, Any], tuple[Tensor, ...], list[dict[str, Tensor]]]
"""New values of a state's fields, what of them must be finite, and the metrics of each gradient step."""


@dataclass(frozen=True)
class OffPolicyLearner(Learner[ConfigT, StateT]):
    """A learner with Q functions and a replay buffer.

    Each update lets the policy act for ``horizon`` steps into the buffer and takes ``updates`` gradient steps. A window
    that is not finite is not kept.
    """

    gradients: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]]
    """Names of the metrics of ``steps``."""

    @abstractmethod
    def draw_actor(self, env: Env, generator: torch.Generator) -> Tensor:
        """Initial parameters of the actor."""

    @abstractmethod
    def behaviour(self, state: StateT, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """The policy that fills the buffer, for one window."""

    @abstractmethod
    def steps(self, state: StateT, batches: Iterable[Batch], generator: torch.Generator) -> Steps:
        """One gradient step for each batch."""

    def init(self, env: Env, seed: int) -> StateT:
        state = super().init(env, seed)
        fits_natively(self.config, self.critic(state.env), state.run.obs.device)
        return state

    def critic(self, env: Env) -> Critic:
        """``Q(x, a)`` of normalised observations and actions."""
        return q_critic(self.config, self.config.critic_hidden, env, self.config.num_critics)

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        c, spec = self.config, env.spec
        actor = self.draw_actor(env, generator).to(obs)
        critic = self.critic(env).init(generator, gain=None).to(obs)
        return {
            "actor": actor,
            "actor_adam": Adam.init(actor),
            "critic": critic,
            "critic_adam": Adam.init(critic),
            "target": critic.clone(),
            "replay": Replay.init(c.replay_size, c.horizon, env.num_envs, spec.num_obs, spec.num_actions, obs),
        }

    def learn(self, state: StateT, generator: torch.Generator, clock: Clock) -> Learned:
        c, env = self.config, state.env
        window, env_state, obs = self._explore(state, generator)
        # Rows that are not finite must not be kept. Others are kept even if this update is refused.
        finite = all_finite(window.obs, window.action, window.reward, window.final_obs)
        replay = state.replay.add(window) if finite else state.replay.skip()
        clock.lap("rollout_s")
        changes, check, rows = dict[str, Any](), (), list[dict[str, Tensor]]()
        # Learning starts with the first window that ends after the random steps.
        if finite and state.env_steps + window.done.numel() > c.warmup_steps * env.num_envs:
            changes, check, rows = self.steps(state, self._batches(state, replay, generator), generator)
        clock.lap("learning_s")
        columns = {name: [row[name] for row in rows if name in row] for name in self.metrics}
        absent = {name: None for name, column in columns.items() if not column}
        return Learned(
            window,
            env_state,
            obs,
            changes,
            finite=check,
            metrics={name: torch.stack(column).mean() for name, column in columns.items() if column},
            host={**absent, "replay_steps": len(replay) * env.num_envs},
            always={"replay": replay},
            refused=not finite,
        )

    @torch.no_grad()
    def _explore(self, state: StateT, generator: torch.Generator) -> tuple[Trajectory, EnvState, Tensor]:
        """A window of the policy, or of uniformly random actions while the run warms up; no graph is recorded."""
        c, run = self.config, state.run
        policy = self.behaviour(state, generator)
        if run.env_steps < c.warmup_steps * run.env.num_envs:
            shape = (c.horizon, run.env.num_envs, run.env.spec.num_actions)
            drawn = torch.rand(shape, generator=generator, dtype=run.obs.dtype, device=run.obs.device)
            actions = iter((2.0 * drawn - 1.0).unbind(0))
            policy = _replayed(actions)
        window, env_state, obs = rollout(run.env, policy, run.env_state, run.obs, c.horizon)
        return charged(window, c.divergence_price), env_state, obs

    def _batches(self, state: StateT, replay: Replay, generator: torch.Generator) -> Iterator[Batch]:
        """One batch for each gradient step, with observations normalised as in the window."""
        c, normalize = self.config, state.run.normalizer(self.config)
        for _ in range(c.updates):
            drawn = replay.sample(generator, c.batch_size, gamma=c.gamma, n=c.n_step)
            x, x_next = (normalize(obs) for obs in (drawn.obs, drawn.final_obs))
            yield Batch(x, drawn.action, c.reward_scale * drawn.reward, drawn.discount, x_next, drawn.diverged)


def _replayed(actions: Iterator[Tensor]) -> Callable[[Tensor], Tensor]:
    """A policy that gives these actions, whatever it sees."""
    return lambda _: next(actions)


class QFunctions:
    """The Q functions and their targets during one update: clones of a state's, changed in place."""

    def __init__(self, learner: OffPolicyLearner[Any, Any], state: OffPolicyState) -> None:
        self._critic, self._config, self._optimizer = learner.critic(state.env), learner.config, learner.optimizer
        self._lr = learner.lr(state, learner.config.critic_lr)
        self.flat, self.adam, self.target = state.critic.clone(), state.critic_adam.clone(), state.target.clone()
        self._native = fits_natively(self._config, self._critic, self.flat.device)
        self._grad = torch.empty_like(self.flat)
        self._params, self._grads = self._critic.split(self.flat), self._critic.split(self._grad)

    def __call__(self, x: Tensor, action: Tensor) -> Tensor:
        """The value of each, ``[count, B]``; differentiable in the action, not in the parameters."""
        return self._critic(self.flat, torch.cat([x, action], dim=-1))

    def first(self, x: Tensor, action: Tensor) -> Tensor:
        """The value of the first of them, ``[B]``, in the same way."""
        return self._critic.mlp(self._params[0], torch.cat([x, action], dim=-1))[:, 0]

    def target_value(self, batch: Batch, action: Tensor, bonus: Tensor | float = 0.0) -> Tensor:
        """``y = R + discount V(x_next)``, ``[B]``, with ``V = min_i Q'_i(x_next, action) + bonus``.

        A step that diverged is worth one standard deviation of the others' targets less than the state it was taken
        in: worse than to go on, whatever the scale of rewards. The lowest target of the batch would do for that too,
        but it lies so far below its neighbours that the Q functions bend everywhere to fit it.
        """
        value = self._critic(self.target, torch.cat([batch.x_next, action], dim=-1)).amin(0) + bonus
        y = torch.addcmul(batch.reward, batch.discount, value)
        whole = ~batch.diverged
        count = whole.sum().clamp(min=1)
        error = torch.where(whole, y - torch.where(whole, y, 0.0).sum() / count, 0.0)
        spread = (error.square().sum() / count).sqrt()
        return torch.where(whole, y, value - spread)

    def fit(self, batch: Batch, y: Tensor) -> Tensor:
        """One step down the mean squared error of every Q function; the error before it, a scalar."""
        x = torch.cat([batch.x, batch.action], dim=-1)
        if self._native:
            constants = {"optimizer": self._optimizer, "lr": self._lr}
            self.adam, loss = step_(self._critic, self.flat, self.adam, x, y, **constants)
            return loss
        errors = self._critic.regression_grad(self._params, x, y, self._grads)
        self.adam, _ = self._optimizer.step_(self.flat, self.adam, self._grad, self._lr)
        return torch.cat(errors).square().mean()

    def move_target(self) -> None:
        """Move the target towards the Q functions."""
        self.target.lerp_(self.flat, 1.0 - self._config.target_alpha)

    def changes(self) -> dict[str, Any]:
        """New values of a state's fields."""
        return {"critic": self.flat, "critic_adam": self.adam, "target": self.target}
