"""Short-Horizon Actor-Critic: learn a policy through windows of a differentiable simulator.

Xu, Makoviychuk, Narang, Ramos, Matusik, Garg & Macklin, Accelerated Policy Learning with Parallel
Differentiable Simulation, ICLR 2022 (arXiv:2204.07137): Algorithm 1 and Eq. 5-7.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, collect_divergences, rollout, stop_gradient

from .._algorithm import Metrics
from .._configs import SHACConfig
from ._adam import Adam, clip_norm
from ._episodes import Episodes
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, GaussianPolicy
from ._state import from_arrays, to_arrays

_PHASES = ("rollout_s", "backward_s", "critic_s")
"""Where an update's time goes [s]; on CUDA, where its work was queued."""


class SHACState(NamedTuple):
    """All that a SHAC run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critic."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target critic, which is what values are taken from."""
    stats: RunningStats
    """Statistics of all observations before the next window; frozen while a window is rolled out."""
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, what the policy sees next."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    iteration: int
    env_steps: int
    refused: int
    """Updates refused because a gradient or a value target was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class SHAC:
    """Short-Horizon Actor-Critic.

    Each update rolls the stochastic policy out for ``horizon`` steps from where the last window ended,
    takes one Adam step up the gradient of the discounted rewards plus the target critic's value of what
    follows (Eq. 5), then fits the critic to TD(lambda) targets (Eq. 6 and 7) and moves the target critic
    towards it. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: SHACConfig = field(default_factory=SHACConfig)
    name: str = field(default="shac", init=False)

    def init(self, env: Env, seed: int) -> SHACState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        spec, c = env.spec, self.config
        if not spec.differentiable:
            raise ValueError(f"environment {spec.name!r} is not differentiable; SHAC learns through its gradients")
        env_state, obs = env.reset(seed)
        if not isinstance(obs, Tensor) or obs.shape != (env.num_envs, spec.num_obs):
            raise ValueError(
                f"environment {spec.name!r} gives observations of {type(obs).__name__}"
                f"{list(getattr(obs, 'shape', []))}; SHAC needs a torch tensor [{env.num_envs}, {spec.num_obs}]"
            )
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        networks = _Networks.of(c, env)
        actor = networks.actor.init(generator, logstd=c.logstd_init).to(obs)
        critic = networks.critic.init(generator, orthogonal=True).to(obs)
        draws = int(torch.randint(2**62, (), generator=generator))
        return SHACState(
            env=env,
            actor=actor,
            actor_adam=Adam.init(actor),
            critic=critic,
            critic_adam=Adam.init(critic),
            target=critic.clone(),
            stats=RunningStats.init(spec.num_obs, obs.device),
            env_state=env_state,
            obs=obs,
            rng=torch.Generator(obs.device).manual_seed(draws).get_state(),
            episodes=Episodes.init(env.num_envs),
            iteration=0,
            env_steps=0,
            refused=0,
            diverged=0,
        )

    def update(self, state: SHACState) -> tuple[SHACState, Metrics]:
        """One window, one step of the actor, ``critic_iterations`` passes of the critic."""
        # An update that is not finite is refused and counted below, so gradest need not stop at NaN.
        with _threads(self.config.torch_threads), gradest.allow_nan():
            return self._update(state)

    def _update(self, state: SHACState) -> tuple[SHACState, Metrics]:
        c, env, nets = self.config, state.env, _Networks.of(self.config, state.env)
        clock = [time.perf_counter()]
        generator = torch.Generator(state.obs.device)
        generator.set_state(state.rng)
        shift, scale = self._normalizer(state)

        actor = state.actor.detach().requires_grad_()
        noisy = self._noisy_policy(nets.actor, actor, shift, scale, generator, state.obs)
        window, env_state, obs = rollout(env, noisy, state.env_state, state.obs, c.horizon)
        terminated, done = window.terminated, window.done
        value_next = nets.value(state.target, torch.addcmul(shift, window.final_obs, scale))
        loss = -gradest.segment_objective(window.reward, value_next, terminated, done, gamma=c.gamma)
        clock.append(time.perf_counter())

        (grad,) = torch.autograd.grad(loss, actor)
        grad, grad_norm = clip_norm(grad, c.max_grad_norm)
        clock.append(time.perf_counter())

        reward, seen = window.reward.detach(), window.obs.detach().flatten(0, 1)
        target_value = gradest.td_lambda(reward, value_next.detach(), terminated, done, gamma=c.gamma, lam=c.lam)
        x = torch.addcmul(shift, seen, scale)
        fitted, critic_adam, critic_loss = self._fit(nets.critic, state, x, target_value.flatten(), generator)
        finite = [torch.isfinite(part).all() for part in (grad_norm, grad, target_value, fitted, seen)]
        accepted = bool(torch.stack(finite).all())
        new = state._replace(refused=state.refused + 1)
        if accepted:
            improved, actor_adam = state.actor.clone(), state.actor_adam.clone()
            actor_adam = actor_adam.step_(improved, grad, lr=self._lr(c.actor_lr, state), betas=c.betas)
            new = state._replace(
                actor=improved,
                actor_adam=actor_adam,
                critic=fitted,
                critic_adam=critic_adam,
                target=torch.lerp(fitted, state.target, c.target_alpha),
                stats=state.stats.update(seen),
            )
        clock.append(time.perf_counter())

        diverged = int(window.diverged.sum())
        new = new._replace(
            env_state=stop_gradient(env_state),
            obs=obs.detach(),
            rng=generator.get_state(),
            episodes=state.episodes.update(reward, done),
            iteration=state.iteration + 1,
            env_steps=state.env_steps + done.numel(),
            diverged=state.diverged + diverged,
        )
        figures = {
            "actor_loss": loss.detach(),
            "critic_loss": critic_loss,
            "grad_norm": grad_norm,
            "value_mean": target_value.mean(),
            "std_mean": nets.actor.split(state.actor)[1].exp().mean(),
            **{f"task_{name}": value.detach().mean() for name, value in window.metrics.items()},
        }
        return_mean, length_mean = new.episodes.means()
        return new, {
            "return_mean": return_mean,
            "length_mean": length_mean,
            "episodes": new.episodes.finished,
            # One transfer for all of them.
            **dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True)),
            "actor_lr": self._lr(c.actor_lr, state),
            "refused_updates": new.refused,
            "diverged": new.diverged,
            **{name: end - start for name, (start, end) in zip(_PHASES, itertools.pairwise(clock), strict=True)},
            "divergences": collect_divergences(env, window) if diverged else [],
        }

    def policy(self, state: SHACState, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now."""
        shift, scale = self._normalizer(state)
        generator = None if deterministic else torch.Generator(state.obs.device).manual_seed(seed)
        return GaussianPolicy(_Networks.of(self.config, state.env).actor, state.actor, shift, scale, generator)

    def to_arrays(self, state: SHACState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: SHACState, arrays: Mapping[str, np.ndarray]) -> SHACState:
        return from_arrays(state, arrays)

    def _noisy_policy(
        self,
        actor: GaussianActor,
        params: Tensor,
        shift: Tensor,
        scale: Tensor,
        generator: torch.Generator,
        obs: Tensor,
    ) -> Callable[[Tensor], Tensor]:
        """The stochastic policy, differentiable in ``params``, for the ``horizon`` steps of one window."""
        layers, logstd = actor.split(params)
        shape = (self.config.horizon, len(obs), actor.num_actions)
        eps = torch.randn(shape, generator=generator, dtype=obs.dtype, device=obs.device)
        noise = iter((eps * logstd.exp()).unbind(0))

        def act(obs: Tensor) -> Tensor:
            return torch.tanh(actor.mlp(layers, torch.addcmul(shift, obs, scale)) + next(noise))

        return act

    def _fit(
        self, critic: MLP, state: SHACState, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Adam, Tensor]:
        """Fit the critic to targets ``y [T N]`` of normalised observations ``x [T N, no]`` (Eq. 6)."""
        c = self.config
        flat, adam = state.critic.clone(), state.critic_adam.clone()
        grad = torch.empty_like(flat)
        params, grads = critic.split(flat), critic.split(grad)
        size, lr = -(-len(y) // c.critic_minibatches), self._lr(c.critic_lr, state)
        errors: list[Tensor] = []
        for _ in range(c.critic_iterations):
            if c.critic_shuffle:
                order = torch.randperm(len(y), generator=generator, device=y.device)
                x, y = x[order], y[order]
            errors = []
            for x_b, y_b in zip(x.split(size), y.split(size), strict=True):
                errors.append(critic.regression_grad(params, x_b, y_b, grads))
                adam = adam.step_(flat, clip_norm(grad, c.max_grad_norm)[0], lr=lr, betas=c.betas)
        return flat, adam, torch.cat(errors).square().mean()

    def _normalizer(self, state: SHACState) -> tuple[Tensor, Tensor]:
        """``(shift, scale)`` of the observation statistics as they are now."""
        if self.config.normalize_obs:
            return state.stats.affine(state.obs.dtype)
        return torch.zeros_like(state.obs[0]), torch.ones_like(state.obs[0])

    def _lr(self, start: float, state: SHACState) -> float:
        if self.config.lr_schedule == "constant":
            return start
        return start + (self.config.lr_end - start) * min(1.0, state.iteration / self.config.iterations)


class _Networks(NamedTuple):
    actor: GaussianActor
    critic: MLP

    @classmethod
    def of(cls, config: SHACConfig, env: Env) -> _Networks:
        num_obs, num_actions = env.spec.num_obs, env.spec.num_actions
        return cls(
            GaussianActor(MLP((num_obs, *config.actor_hidden, num_actions))),
            MLP((num_obs, *config.critic_hidden, 1)),
        )

    def value(self, params: Tensor, x: Tensor) -> Tensor:
        """``[..., no] -> [...]``; differentiable in ``x``."""
        return self.critic(self.critic.split(params), x)[..., 0]


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Run torch's operations on ``number`` threads, and leave the process as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
