"""Gradient Informed PPO: towards the policy that the simulator's gradient asks for, with caution, then PPO.

Son, Zheng, Sullivan, Qiao & Lin, Gradient Informed Proximal Policy Optimization, NeurIPS 2023: Algorithm 1, Eq. 8-18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState
from gradest.torch import gae_gradient

from .._algorithm import Metrics
from .._configs import GIPPOConfig
from . import _on_policy as on_policy
from . import _training as training
from ._adam import Adam, Optimizer
from ._attempts import Phase, attempt
from ._critic import ValueFunction
from ._distributions import Gaussian
from ._episodes import Episodes
from ._normalize import RunningStats
from ._on_policy import Networks, Window
from ._policy import GaussianActor, GaussianPolicy, by_autograd
from ._schedules import follow_divergence, learning_rate
from ._state import from_arrays, to_arrays


class GIPPOState(NamedTuple):
    """All that a GI-PPO run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    alpha_adam: Adam
    """Moments of the fit to the alpha-policy."""
    actor_adam: Adam
    """Moments of PPO's passes."""
    alpha: Tensor
    """The controller: alpha, additional returns seen, their mean and sum of squares; float64 ``[4]``."""
    rates: Tensor
    """Learning rates of the fit and of PPO's passes, as they have been moved; float64 ``[2]``."""
    critic: Tensor
    """Flat parameters of the critic, whose values are in units of ``value_stats``."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target critic, which is what values are taken from."""
    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1."""
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
    """Updates refused because something in them was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


class _Batch(NamedTuple):
    """What the actor learns from, a row for each step of each world: rows of all parts belong together."""

    x: Tensor
    """Normalised observations."""
    eps: Tensor
    """The noise of the actions."""
    u: Tensor
    """Actions before tanh."""
    log_prob: Tensor
    """Their log-densities under the policy that took them."""
    advantage: Tensor
    gradient: Tensor
    """dA/du of each (Eq. 15)."""


@dataclass(frozen=True)
class GIPPO:
    """Gradient Informed Proximal Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps, moves every action up the gradient of its
    advantage by alpha and fits the policy to them (Eq. 10), judges from the result whether alpha was too large
    (Algorithm 1), takes PPO's passes from there (Eq. 18), and fits the critic. An update that is not finite changes no
    parameter; it is counted.
    """

    config: GIPPOConfig = field(default_factory=GIPPOConfig)
    name: str = field(default="gippo", init=False)

    def init(self, env: Env, seed: int) -> GIPPOState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        c = self.config
        fields = on_policy.first_fields(c, env, seed, "GIPPO")
        return GIPPOState(
            alpha_adam=Adam.init(fields["actor"]),
            actor_adam=Adam.init(fields["actor"]),
            alpha=torch.tensor([c.alpha_init, 0.0, 0.0, 0.0], dtype=torch.float64),
            rates=torch.tensor([c.alpha_lr, c.actor_lr], dtype=torch.float64),
            **fields,
        )

    def update(self, state: GIPPOState) -> tuple[GIPPOState, Metrics]:
        """One window, the fit to the alpha-policy, PPO's passes, ``critic_iterations`` passes of the critic."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: GIPPOState) -> tuple[GIPPOState, Metrics]:
        c, actor, clock = self.config, Networks.of(self.config, state.env).actor, training.Clock()
        generator, alpha = training.generator_of(state), float(state.alpha[0])

        # Experience, its advantages (Eq. 14) and their gradients (Eq. 15).
        window = on_policy.collect(c, state, state.actor.detach().requires_grad_(), generator)
        clock.lap("rollout_s")
        batch = self._batch(window)
        clock.lap("backward_s")

        # Step 1: the alpha-policy. If the fit fails, it is the old one, and alpha stays.
        fit = self._fit(actor, state, batch, alpha)
        clock.lap("alpha_s")

        # Step 2: alpha, from variance (Lemma 4.4), bias (Eq. 16) and room for PPO (Eq. 12).
        with torch.no_grad():
            policy: Gaussian = actor(actor.split(fit.params), batch.x)
            log_prob_alpha = policy.log_prob(batch.u)
            old_std = window.policy.logstd.broadcast_to(window.u.shape).flatten(0, 1).exp()
            determinant = gradest.gaussian_determinant(policy.logstd.broadcast_to(old_std.shape).exp(), old_std)
            gain = gradest.additional_return(log_prob_alpha, batch.log_prob, batch.advantage)
            outside = gradest.out_of_range_ratio(log_prob_alpha, batch.log_prob, clip=c.clip)
        controlled = self._control(state.alpha, determinant, gain, outside) if fit.succeeded else state.alpha

        # Step 3: PPO, near the policy halfway between (Eq. 18).
        ppo = self._ppo(actor, state, fit, batch, log_prob_alpha, generator)
        with torch.no_grad():
            after: Gaussian = actor(actor.split(ppo.params), batch.x)
            kl, kl_ppo = window.policy.flat().kl(after).mean(), policy.kl(after).mean()
        rate = follow_divergence(ppo.rate, float(kl_ppo), c.kl_target) if c.adaptive_lr else ppo.rate
        clock.lap("ppo_s")

        critic_lr = learning_rate(c, c.critic_lr, state.iteration)
        learned, critic_loss = on_policy.fit_values(c, state, window, critic_lr, generator)
        learned |= {"actor": ppo.params, "alpha_adam": fit.adam, "actor_adam": ppo.adam, "alpha": controlled}
        learned["rates"] = torch.tensor([fit.rate, rate], dtype=torch.float64)
        new = on_policy.finish(state, learned, window, generator, batch.gradient, kl)
        clock.lap("critic_s")
        figures = {
            "actor_loss": ppo.loss,
            "critic_loss": critic_loss,
            "alpha_loss": fit.loss,
            "grad_norm": batch.gradient.norm(dim=-1).mean(),
            "lost_gradients": window.noisy.lost_gradients(),
            "determinant_min": determinant.amin(),
            "determinant_mean": determinant.mean(),
            "determinant_max": determinant.amax(),
            "additional_return": gain,
            "out_of_range": outside,
            "kl": kl,
            "kl_ppo": kl_ppo,
            "value_mean": window.target_value.mean(),
            "std_mean": window.policy.logstd.exp().mean(),
        }
        more = {"alpha": alpha, "alpha_lr": float(state.rates[0]), "actor_lr": float(state.rates[1])}
        more |= {"alpha_attempts": fit.attempts, "ppo_attempts": ppo.attempts}
        return new, training.report(new, window.trajectory, figures, clock, **more)

    def policy(self, state: GIPPOState, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now."""
        return on_policy.gaussian_policy(self.config, state, deterministic=deterministic, seed=seed)

    def value(self, state: GIPPOState) -> ValueFunction:
        """The critic's value of observations, for viewers."""
        return on_policy.value_function(self.config, state)

    def to_arrays(self, state: GIPPOState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: GIPPOState, arrays: Mapping[str, np.ndarray]) -> GIPPOState:
        return from_arrays(state, arrays)

    def _batch(self, window: Window) -> _Batch:
        """The window's rows, with the gradient of every advantage by its own action from one backward pass."""
        c, u = self.config, window.u
        gradient = gae_gradient(
            window.advantage, window.noisy.each_sample(), window.trajectory.done, gamma=c.gamma, lam=c.lam
        )
        parts = (window.x, window.eps, u, window.policy.log_prob(u), window.advantage.detach(), gradient)
        return _Batch(*(part.flatten(0, 1) for part in parts))

    def _fit(self, actor: GaussianActor, state: GIPPOState, batch: _Batch, alpha: float) -> Phase:
        """Up to ``attempts`` fits of the policy to the alpha-policy (Eq. 8 and 10), each over the whole window."""
        c, optimizer = self.config, Optimizer(self.config.betas, self.config.max_grad_norm, eps=self.config.adam_eps)
        target = gradest.alpha_policy_target(batch.u, batch.gradient, alpha=alpha)

        def apart(policy: Gaussian) -> tuple[Tensor, Tensor, Tensor]:
            # gradest.alpha_policy_loss and its gradient by hand: most of an update's time is spent here.
            noise = batch.eps * policy.logstd.exp()
            error = policy.mean + noise - target
            by_mean = error * (2.0 / len(error))
            return error.square().sum(-1).mean(), by_mean, by_mean * noise

        def once(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            losses = []
            for _ in range(c.alpha_iterations):
                loss, grad = actor.gradient(flat, batch.x, apart)
                losses.append(loss)
                adam, _ = optimizer.step_(flat, adam, grad, rate)
            return adam, losses[0], losses[-1]

        def left(flat: Tensor) -> Tensor:
            return apart(actor(actor.split(flat), batch.x))[0]

        start, rate = (state.actor, state.alpha_adam), float(state.rates[0])
        judge = left if c.judged_by == "result" else None
        return attempt(once, *start, rate, most=c.attempts, compound=True, rate_min=c.alpha_lr_min, left=judge)

    def _ppo(
        self,
        actor: GaussianActor,
        state: GIPPOState,
        fit: Phase,
        batch: _Batch,
        log_prob_alpha: Tensor,
        generator: torch.Generator,
    ) -> Phase:
        """Up to ``attempts`` rounds of ``actor_iterations`` passes up the clipped surrogate (Eq. 18)."""
        c, optimizer = (
            self.config,
            Optimizer(self.config.ppo_betas, self.config.max_grad_norm, eps=self.config.adam_eps),
        )
        advantage, near = on_policy.standardised(batch.advantage), self._near(batch.log_prob, log_prob_alpha)
        size = -(-len(batch.x) // c.actor_minibatches)

        def surrogate(rows: Tensor) -> Callable[[Gaussian], Tensor]:
            u, old, a = batch.u[rows], near(rows), advantage[rows]
            return lambda policy: -gradest.clipped_surrogate(policy.log_prob(u), old, a, clip=c.clip)

        def once(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            losses = []
            for _ in range(c.actor_iterations):
                order = torch.arange(len(batch.x), device=batch.x.device)
                if c.actor_minibatches > 1:
                    order = torch.randperm(len(batch.x), generator=generator, device=batch.x.device)
                losses.append([])
                for rows in order.split(size):
                    loss, grad = actor.gradient(flat, batch.x[rows], by_autograd(surrogate(rows)))
                    losses[-1].append(loss)
                    adam, _ = optimizer.step_(flat, adam, grad, rate)
            return adam, torch.stack(losses[0]).mean(), torch.stack(losses[-1]).mean()

        def left(flat: Tensor) -> Tensor:
            pieces = torch.arange(len(batch.x), device=batch.x.device).split(size)
            return torch.stack([surrogate(rows)(actor(actor.split(flat), batch.x[rows])) for rows in pieces]).mean()

        start, rate = (fit.params, state.actor_adam), float(state.rates[1])
        judge = left if c.judged_by == "result" else None
        return attempt(once, *start, rate, most=c.attempts, compound=False, left=judge)

    def _near(self, log_prob_old: Tensor, log_prob_alpha: Tensor) -> Callable[[Tensor], Tensor]:
        """Log-densities of the policy that PPO stays near, for the rows of a piece."""
        near = self.config.near
        if near in ("old", "alpha"):
            chosen = log_prob_old if near == "old" else log_prob_alpha
            return lambda rows: chosen[rows]
        halfway = gradest.virtual_log_prob(log_prob_old, log_prob_alpha)
        if near == "virtual":
            return lambda rows: halfway[rows]
        apart = (log_prob_alpha - log_prob_old).abs() > _GUARD
        return lambda rows: (log_prob_alpha if bool(apart[rows].any()) else halfway)[rows]

    def _control(self, memory: Tensor, determinant: Tensor, gain: Tensor, outside: Tensor) -> Tensor:
        """The controller's memory after this update's measurements."""
        c = self.config
        controller = gradest.AlphaController(
            alpha_init=c.alpha_init,
            alpha_max=c.alpha_max,
            alpha_min=c.alpha_min,
            factor=c.alpha_factor,
            delta_det=c.delta_det,
            delta_oorr=c.delta_oorr,
            bias_rule=c.bias_rule,
        )
        alpha, seen, mean, square = memory.tolist()
        after = controller.update(
            gradest.AlphaState(alpha, seen=int(seen), mean=mean, square=square),
            determinant=(float(determinant.amin()), float(determinant.amax())),
            additional_return=float(gain),
            out_of_range=float(outside),
        )
        return torch.tensor([after.alpha, after.seen, after.mean, after.square], dtype=torch.float64)


_GUARD = 4.0
"""Difference of log-densities from which ``near="guarded"`` takes the alpha-policy (the released code's)."""
