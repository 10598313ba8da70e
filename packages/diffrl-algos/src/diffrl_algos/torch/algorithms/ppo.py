"""Proximal Policy Optimization, without gradients of the simulator (Schulman et al. 2017)

The model-free baseline, on the same networks, windows and bootstrap values. Schulman, Wolski, Dhariwal, Radford &
Klimov, Proximal Policy Optimization Algorithms, 2017 (arXiv:1707.06347), Eq. 7, with generalised advantages (Schulman
et al. 2016) and a learning rate that adapts to the divergence of the policies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from ..._configs.ppo import PPOConfig
from .. import _distributed as distributed
from .._account import Clock, Learned
from .._adam import Adam
from .._attempts import attempt
from .._distributions import Gaussian
from .._on_policy import AdvantageLearner, AdvantageState, standardised
from .._policy import GaussianActor
from .._policy_fit import distribution, fits_policy_natively
from .._policy_losses import Surrogate
from .._schedules import adapt_to_divergence


@dataclass(frozen=True)
class PPOState(AdvantageState):
    """The state of a PPO run."""

    adapted_lr: Tensor
    """Learning rate of the actor as adapted to the divergence or to failed attempts, a float64 scalar."""


class _Batch(NamedTuple):
    """The actor's data, one row for each step of each world."""

    x: Tensor
    """Normalised observations."""
    u: Tensor
    """Actions before tanh."""
    log_prob: Tensor
    """Their log-densities under the policy that acted."""
    advantage: Tensor
    """Standardised."""


@dataclass(frozen=True)
class PPO(AdvantageLearner[PPOConfig, PPOState]):
    """Proximal Policy Optimization. Needs no gradient of the environment.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes ``actor_iterations`` epochs over the window
    up the clipped surrogate (Eq. 7) of generalised advantages, and fits the critic to their TD(lambda) targets. An
    update that is not finite changes no parameter; it is counted.
    """

    config: PPOConfig = field(default_factory=PPOConfig)
    name: ClassVar[str] = "ppo"
    state_type = PPOState
    gradients: ClassVar[bool] = False
    processes: ClassVar[bool] = True

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        rate = torch.full((), self.config.actor_lr, dtype=torch.float64)
        return {**super().first(env, obs, generator), "adapted_lr": rate}

    def learn(self, state: PPOState, generator: torch.Generator, clock: Clock) -> Learned:
        c, actor = self.config, self.actor(state.env)

        # The window and its advantages.
        with torch.no_grad():
            _, window, values = self.collect(state, generator)
            before = window.policy
            values = values._replace(advantage=values.target_value - values.value)
            parts = (values.x, window.u, before.log_prob(window.u), values.advantage, values.taken)
            *rows, taken = (distributed.worlds(part, 1).flatten(0, 1) for part in parts)
            batch = _Batch(*rows)
            batch = batch._replace(advantage=standardised(batch.advantage, taken))
        clock.lap("rollout_s")

        # The actor. Adapted rates depend on the divergence, which is read from the device after each epoch.
        adapts, native = c.adaptive_lr or c.attempts > 1, fits_policy_natively(c, actor, values.x.device)
        lr = first_lr = float(state.adapted_lr) if adapts else self.lr(state, c.actor_lr)
        metrics = dict[str, Tensor]()

        def epochs(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            nonlocal metrics, lr
            losses = []
            for _ in range(c.actor_iterations):
                adam, metrics = self.epoch(actor, flat, adam, batch, rate, generator)
                losses.append(distributed.mean(metrics["actor_loss"]))
                after = distribution(actor, flat, values.x, native=native)
                metrics["kl"] = distributed.mean(before.kl(after).mean())
                if c.adaptive_lr:
                    lr = rate = adapt_to_divergence(rate, float(metrics["kl"]), c.kl_target)
            return adam, losses[0], losses[-1]

        if c.attempts > 1:
            phase = attempt(epochs, state.actor, state.actor_adam, lr, most=c.attempts, compound=False)
            improved, actor_adam, lr = phase.params, phase.adam, phase.rate
            if not phase.succeeded:
                metrics["kl"] = torch.zeros_like(metrics["kl"])
        else:
            improved = state.actor.clone()
            actor_adam, *_ = epochs(improved, state.actor_adam.clone(), lr)
        clock.lap("actor_s")

        # The critic.
        critic_lr = c.critic_lr * lr / c.actor_lr if c.adaptive_lr else self.lr(state, c.critic_lr)
        changes, critic_loss = self.fit_values(state, values, generator, lr=critic_lr)
        changes |= {"actor": improved, "actor_adam": actor_adam, "adapted_lr": torch.full_like(state.adapted_lr, lr)}
        metrics |= {
            "critic_loss": critic_loss,
            "value_mean": values.target_value.mean(),
            "std_mean": before.logstd.exp().mean(),
        }
        clock.lap("critic_s")
        finite = (metrics["kl"], values.target_value, batch.x)
        return self.learned(state, window, changes, metrics, *finite, host={"actor_lr": first_lr})

    def epoch(
        self,
        actor: GaussianActor,
        flat: Tensor,
        adam: Adam,
        batch: _Batch,
        lr: float,
        generator: torch.Generator,
    ) -> tuple[Adam, dict[str, Tensor]]:
        """One epoch over random minibatches, in place on ``flat`` and ``adam``; the mean loss and other metrics."""
        c, metrics, losses = self.config, dict[str, Tensor](), list[Tensor]()
        order = torch.randperm(len(batch.x), generator=generator, device=batch.x.device)
        size = -(-len(order) // c.actor_minibatches)
        if fits_policy_natively(c, actor, order.device):
            from .._native_policy_fit import fit_policy_natively_  # which loads a compiler

            loss = Surrogate(batch.u, batch.advantage, batch.log_prob[order], c.clip, c.entropy_coef)
            options: dict[str, Any] = {"minibatch": size, "optimizer": self.optimizer, "lr": lr}
            adam, steps = fit_policy_natively_(actor, flat, adam, batch.x, order[None], loss, **options)
            last = {"grad_norm": steps.norm[0, -1], "clipped": steps.outside[0, -1]}
            return adam, {"actor_loss": steps.loss.mean(), **last}
        for rows in order.split(size):
            (rows,) = distributed.share(rows)
            x, u, log_prob_old, advantage = (part[rows] for part in batch)
            params = flat.detach().requires_grad_()
            policy: Gaussian = actor(actor.split(params), x)
            log_prob = policy.log_prob(u)
            loss = -gradest.clipped_surrogate(log_prob, log_prob_old, advantage, clip=c.clip)
            (grad,) = torch.autograd.grad(loss - c.entropy_coef * policy.entropy().mean(), params)
            clipped = gradest.out_of_range_ratio(log_prob.detach(), log_prob_old, clip=c.clip)
            adam, grad_norm = self.optimizer.step_(flat, adam, grad, lr)
            metrics = {"grad_norm": grad_norm, "clipped": clipped}
            losses.append(loss.detach())
        return adam, {"actor_loss": distributed.mean(torch.stack(losses).mean()), **metrics}


ALGORITHM = PPO
