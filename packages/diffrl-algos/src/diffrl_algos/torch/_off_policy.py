"""What SAC and TD3 share: windows without gradients, batches from the replay buffer, Q functions and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Trajectory, rollout

from .._algorithm import Metrics
from .._configs import OffPolicyConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic
from ._mlp import MLP
from ._replay import Replay


class Learner(training.Worlds, Protocol):
    """The fields of a state that has Q functions and a replay buffer."""

    @property
    def critic(self) -> Tensor: ...
    @property
    def critic_adam(self) -> Adam: ...
    @property
    def target(self) -> Tensor: ...
    @property
    def replay(self) -> Replay:
        """The steps up to the present observation, as they were seen."""
        ...


State = TypeVar("State", bound=Learner)


class Batch(NamedTuple):
    """What one gradient step learns from; observations are normalised."""

    x: Tensor
    """``[B, no]``."""
    action: Tensor
    """``[B, na]``."""
    reward: Tensor
    """``[B]``, discounted over up to ``n_step`` steps, times ``reward_scale``."""
    discount: Tensor
    """``[B]``, what the value of ``x_next`` counts."""
    x_next: Tensor
    """``[B, no]``."""


def critic_of(config: OffPolicyConfig, env: Env) -> Critic:
    """``Q(x, a)``, of normalised observations and actions."""
    sizes = (env.spec.num_obs + env.spec.num_actions, *config.critic_hidden, 1)
    return Critic(MLP(sizes, config.activation, config.layer_norm), config.num_critics)


def first_fields(
    config: OffPolicyConfig, env: Env, env_state: EnvState, obs: Tensor, generator: torch.Generator
) -> dict[str, Any]:
    """The fields of ``Learner`` before the first update; call it once the actor is drawn from ``generator``."""
    critic = critic_of(config, env).init(generator, gain=None).to(obs)
    spec = env.spec
    return {
        "critic": critic,
        "critic_adam": Adam.init(critic),
        "target": critic.clone(),
        "replay": Replay.init(config.replay_size, config.horizon, env.num_envs, spec.num_obs, spec.num_actions, obs),
        **training.first_fields(env, env_state, obs, generator),
    }


Learn = Callable[[Iterable[Batch]], tuple[dict[str, Any] | None, list[dict[str, Tensor]]]]
"""Batches for the gradient steps to the fields of the state they change, None if those are not finite, and the figures
of each step."""


def update(
    config: OffPolicyConfig,
    state: State,
    policy: Callable[[Tensor], Tensor],
    learn: Learn,
    generator: torch.Generator,
    figures: tuple[str, ...],
) -> tuple[State, Metrics]:
    """One window of ``policy`` into the buffer, then ``learn``; ``figures`` names what ``learn`` tells."""
    clock = training.Clock()
    window, env_state, obs = _explore(config, state, policy, generator)
    # What is not finite must not be remembered; what is must be, even if nothing good is learned from it now.
    fine = training.all_finite(window.obs, window.action, window.reward, window.final_obs)
    replay = state.replay.add(window) if fine else state.replay.skip()
    clock.lap("rollout_s")
    learned, told = ({} if fine else None), []
    # A window is learned from if it ends after the random steps do.
    if fine and state.env_steps + window.done.numel() > config.warmup_steps * state.env.num_envs:
        learned, told = learn(_batches(config, state, replay, generator))
    new = training.go_on(state, learned, window, env_state, obs, generator)._replace(replay=replay)
    clock.lap("learning_s")
    columns = {name: [row[name] for row in told if name in row] for name in figures}
    means = {name: torch.stack(column).mean() for name, column in columns.items() if column}
    nothing = {name: None for name, column in columns.items() if not column}
    rows = len(replay) * state.env.num_envs
    return new, training.report(new, window, means, clock, **nothing, replay_steps=rows)


@torch.no_grad()
def _explore(
    config: OffPolicyConfig, state: Learner, policy: Callable[[Tensor], Tensor], generator: torch.Generator
) -> tuple[Trajectory, EnvState, Tensor]:
    """A window of ``policy``, or of uniformly random actions while the run warms up; no graph is recorded."""
    env, obs = state.env, state.obs
    if state.env_steps < config.warmup_steps * env.num_envs:
        shape = (config.horizon, env.num_envs, env.spec.num_actions)
        drawn = torch.rand(shape, generator=generator, dtype=obs.dtype, device=obs.device)
        actions = iter((2.0 * drawn - 1.0).unbind(0))
        return rollout(env, lambda _: next(actions), state.env_state, obs, config.horizon)
    return rollout(env, policy, state.env_state, obs, config.horizon)


def _batches(config: OffPolicyConfig, state: Learner, replay: Replay, generator: torch.Generator) -> Iterator[Batch]:
    """One batch for each gradient step, observations normalised as in the window."""
    shift, scale = training.normalizer(config, state)
    for _ in range(config.updates):
        drawn = replay.sample(generator, config.batch_size, gamma=config.gamma, n=config.n_step)
        x, x_next = (torch.addcmul(shift, obs, scale) for obs in (drawn.obs, drawn.final_obs))
        yield Batch(x, drawn.action, config.reward_scale * drawn.reward, drawn.discount, x_next)


class QFunctions:
    """Q functions and their targets through the gradient steps of one update: a state's, cloned, changed in place."""

    def __init__(self, config: OffPolicyConfig, state: Learner, lr: float) -> None:
        self._critic, self._config, self._lr = critic_of(config, state.env), config, lr
        self._optimizer = Optimizer(config.betas, config.max_grad_norm, config.weight_decay)
        self.flat, self.adam, self.target = state.critic.clone(), state.critic_adam.clone(), state.target.clone()
        self._grad = torch.empty_like(self.flat)
        self._params, self._grads = self._critic.split(self.flat), self._critic.split(self._grad)

    def __call__(self, x: Tensor, action: Tensor) -> Tensor:
        """The value of each, ``[count, B]``; differentiable in the action, not in the parameters."""
        return self._critic(self.flat, torch.cat([x, action], dim=-1))

    def first(self, x: Tensor, action: Tensor) -> Tensor:
        """The value of the first of them, ``[B]``, in the same way."""
        return self._critic.mlp(self._params[0], torch.cat([x, action], dim=-1))[:, 0]

    def target_value(self, batch: Batch, action: Tensor, bonus: Tensor | float = 0.0) -> Tensor:
        """``y = R + discount (min_i Q'_i(x_next, action) + bonus)``, ``[B]``."""
        value = self._critic(self.target, torch.cat([batch.x_next, action], dim=-1)).amin(0)
        return torch.addcmul(batch.reward, batch.discount, value + bonus)

    def fit(self, batch: Batch, y: Tensor) -> Tensor:
        """One step down the mean squared error of every Q function; the error before it, a scalar."""
        x = torch.cat([batch.x, batch.action], dim=-1)
        errors = self._critic.regression_grad(self._params, x, y, self._grads)
        self.adam, _ = self._optimizer.step_(self.flat, self.adam, self._grad, self._lr)
        return torch.cat(errors).square().mean()

    def follow(self) -> None:
        """Move the target towards what was learned."""
        self.target.lerp_(self.flat, 1.0 - self._config.target_alpha)

    def learned(self) -> dict[str, Any]:
        """The fields of a state that this changed."""
        return {"critic": self.flat, "critic_adam": self.adam, "target": self.target}
