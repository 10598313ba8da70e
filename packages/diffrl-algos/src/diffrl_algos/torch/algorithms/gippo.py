"""Gradient Informed PPO (Son et al. 2023)

A cautious fit to the policy that the simulator's gradient asks for, then PPO. Son, Zheng, Sullivan, Qiao & Lin,
Gradient Informed Proximal Policy Optimization, NeurIPS 2023: Algorithm 1, Eq. 8-18.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor

import gradest
from diffsim_core import Env
from diffsim_core.options import Count, Fraction, NotNegative, Positive

from ..._config import Decay, PolicyFitConfig, require
from ..._configs.advantages import OnPolicyConfig
from .._account import Clock, Learned
from .._adam import Adam
from .._attempts import Phase, attempt
from .._distributions import Gaussian
from .._on_policy import AdvantageLearner, Advantages, OnPolicyState, standardised
from .._policy import GaussianActor
from .._policy_fit import distribution, fit_policy_, fits_policy_natively
from .._policy_losses import SquaredError, Surrogate
from .._schedules import adapt_to_divergence
from .._window import Window, lost_share

_GUARD = 4.0
"""Difference of log-densities above which ``near="guarded"`` takes the alpha-policy (the released code's)."""


@dataclass(frozen=True, kw_only=True)
class GIPPOConfig(OnPolicyConfig, PolicyFitConfig):
    """Gradient Informed Proximal Policy Optimization (Son et al. 2023).

    The defaults are those of its Appendix 7.4.2 for Ant, with the networks and the critic's rate of CartPole;
    ``load_preset`` gives those of a task.
    """

    actor_lr: Positive = 1e-4
    """Learning rate of PPO's epochs."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    """How the critic's learning rate changes; the actor's two rates have rules of their own."""
    adaptive_lr: bool = False
    """Adapt the rate of PPO's epochs to the divergence of the new policy from the one that acted."""
    kl_target: Positive = 0.008
    """Target divergence [nat]: the rate is divided by 1.5 above twice the target and multiplied by 1.5 below half."""
    alpha_lr: Positive = 5e-4
    """Learning rate of the fit to the alpha-policy."""
    alpha_iterations: Count = 16
    """Epochs of the fit to the alpha-policy over a window."""
    alpha_minibatches: Count = 1
    """Minibatches in an epoch of the fit, drawn at random; each is one step."""
    alpha_init: Positive = 0.5
    """alpha_0 of Algorithm 1."""
    alpha_max: Positive = 1.0
    """max(alpha) of Algorithm 1."""
    alpha_min: NotNegative = 0.0
    """Lower bound of alpha."""
    alpha_factor: Annotated[float, Interval(gt=1, lt=math.inf)] = 1.02
    """beta of Algorithm 1: the factor by which alpha grows or shrinks."""
    delta_det: Positive = 0.4
    """Largest distance of the estimated determinants from 1."""
    delta_oorr: Fraction = 0.5
    """Largest share of samples outside PPO's range after the fit."""
    bias_rule: Literal["sign", "zscore"] = "sign"
    """The test for bias: a negative additional return (the paper), or one that is also more than a standard deviation
    below the mean of earlier ones (the released code)."""
    attempts: Count = 8
    """Largest number of tries of the fit, and of PPO. A try that ends with a higher loss than it began with is undone
    and repeated with a rate 1.5 times smaller; if none succeeds, the policy stays and the rate stays smaller."""
    judged_by: Literal["result", "last_pass"] = "result"
    """Which loss a try is judged by: that of the policy after its last epoch, or that before its last epoch (the
    released code), which does not see the effect of the last epoch."""
    alpha_rate: Literal["restored", "remembered"] = "restored"
    """The rate that a fit begins with. ``restored``: ``alpha_lr``, or less after fits in which every try failed (the
    released code). ``remembered``: that of the last try that succeeded; it grows again up to ``alpha_lr`` while first
    tries succeed, so that most fits need one."""
    alpha_lr_min: NotNegative = 1e-5
    """Failed tries do not lower the rate of the fit below this."""
    adam_eps: NotNegative = 1e-8
    """Added to the root of the second moment, in the actor's two optimisers."""
    clip: Positive = 0.2
    """Largest distance of the ratio of densities from 1 that PPO's objective rewards."""
    actor_iterations: Count = 5
    """Epochs of PPO over a window."""
    actor_minibatches: Count = 1
    """Minibatches in an epoch of PPO, drawn at random."""
    near: Literal["virtual", "guarded", "alpha", "old"] = "virtual"
    """The policy that PPO stays near. ``virtual``: the policy halfway between the old one and the alpha-policy (the
    paper). ``guarded``: the same, but the alpha-policy in minibatches where the two densities of some sample differ by
    a factor of more than e^4 (the released code). ``alpha``: the alpha-policy. ``old``: the old policy."""
    ppo_betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the moments of PPO's Adam; ``betas`` are those of the fit and of the critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = self.alpha_min <= self.alpha_init <= self.alpha_max
        require("alpha_init", self.alpha_init, inside, "from alpha_min to alpha_max")
        require("gamma * lam", self.gamma * self.lam, self.gamma * self.lam > 0.0, "above 0")


@dataclass(frozen=True)
class GIPPOState(OnPolicyState):
    """The state of a GI-PPO run. ``actor_adam`` has the moments of PPO's epochs."""

    alpha_adam: Adam
    """Moments of the fit to the alpha-policy."""
    alpha: Tensor
    """The controller: alpha, number of additional returns, their mean and sum of squares; float64 ``[4]``."""
    rates: Tensor
    """Learning rates of the fit and of PPO's epochs, as adapted; float64 ``[2]``."""


class _Batch(NamedTuple):
    """The actor's data, one row for each step of each world."""

    x: Tensor
    """Normalised observations."""
    eps: Tensor
    """The noise of the actions."""
    u: Tensor
    """Actions before tanh."""
    log_prob: Tensor
    """Their log-densities under the policy that acted."""
    advantage: Tensor
    gradient: Tensor
    """dA/du of each (Eq. 15)."""
    taken: Tensor
    """Whether the step was taken; the advantage and its gradient are 0 elsewhere."""


@dataclass(frozen=True)
class GIPPO(AdvantageLearner[GIPPOConfig, GIPPOState]):
    """Gradient Informed Proximal Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps, moves every action up the gradient of its
    advantage by alpha and fits the policy to them (Eq. 10), judges from the result whether alpha was too large
    (Algorithm 1), takes PPO's epochs from there (Eq. 18), and fits the critic. An update that is not finite changes no
    parameter; it is counted.
    """

    config: GIPPOConfig = field(default_factory=GIPPOConfig)
    name: ClassVar[str] = "gippo"
    state_type = GIPPOState

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        c, fields = self.config, super().first(env, obs, generator)
        return {
            **fields,
            "alpha_adam": Adam.init(fields["actor"]),
            "alpha": torch.tensor([c.alpha_init, 0.0, 0.0, 0.0], dtype=torch.float64),
            "rates": torch.tensor([c.alpha_lr, c.actor_lr], dtype=torch.float64),
        }

    def learn(self, state: GIPPOState, generator: torch.Generator, clock: Clock) -> Learned:
        """See ``Learner.learn``. Attempts and the controller of alpha decide on the host, so they read numbers."""
        c, actor, alpha = self.config, self.actor(state.env), float(state.alpha[0])

        # Experience, its advantages (Eq. 14) and their gradients (Eq. 15).
        _, window, values = self.collect(state, generator, push=True, leaf=False)
        finish = self.begin_fit_values(state, values, generator)  # beside all that follows
        clock.lap("rollout_s")
        batch, lost = self._batch(window, values)
        policy_old = window.policy.detach()
        clock.lap("backward_s")

        # Step 1: the alpha-policy. If the fit fails, it is the old policy, and alpha stays.
        fit = self._fit(actor, state, batch, alpha, generator)
        clock.lap("alpha_s")

        # Step 2: alpha, from variance (Lemma 4.4), bias (Eq. 16) and the range of PPO (Eq. 12).
        with torch.no_grad():
            policy = self._policy(actor, fit.params, batch.x)
            log_prob_alpha = policy.log_prob(batch.u)
            std_old = policy_old.logstd.broadcast_to(window.u.shape).flatten(0, 1).exp()
            determinant = gradest.gaussian_determinant(policy.logstd.broadcast_to(std_old.shape).exp(), std_old)
            gain = gradest.additional_return(log_prob_alpha, batch.log_prob, batch.advantage)
            outside = gradest.out_of_range_ratio(log_prob_alpha, batch.log_prob, clip=c.clip)
        controlled = self._control(state.alpha, determinant, gain, outside) if fit.succeeded else state.alpha

        # Step 3: PPO, near the policy halfway between (Eq. 18).
        ppo = self._ppo(actor, state, fit, batch, log_prob_alpha, generator)
        with torch.no_grad():
            after = self._policy(actor, ppo.params, batch.x)
            kl, kl_ppo = policy_old.flat().kl(after).mean(), policy.kl(after).mean()
        rate = adapt_to_divergence(ppo.rate, float(kl_ppo), c.kl_target) if c.adaptive_lr else ppo.rate
        clock.lap("ppo_s")

        changes, critic_loss = finish()
        changes |= {"actor": ppo.params, "alpha_adam": fit.adam, "actor_adam": ppo.adam, "alpha": controlled}
        changes["rates"] = torch.tensor([fit.rate, rate], dtype=torch.float64)
        finite = (batch.gradient, kl, values.target_value, values.x, batch.advantage)
        metrics = {
            "actor_loss": ppo.loss,
            "critic_loss": critic_loss,
            "alpha_loss": fit.loss,
            "grad_norm": batch.gradient.norm(dim=-1).mean(),
            "gradient_variance": _total_variance(batch.gradient, batch.taken),
            "lost_gradients": lost,
            "determinant_min": determinant.amin(),
            "determinant_mean": determinant.mean(),
            "determinant_max": determinant.amax(),
            "additional_return": gain,
            "out_of_range": outside,
            "kl": kl,
            "kl_ppo": kl_ppo,
            "value_mean": values.target_value.mean(),
            "std_mean": policy_old.logstd.exp().mean(),
        }
        host = {"alpha": alpha, "alpha_lr": float(state.rates[0]), "actor_lr": float(state.rates[1])}
        host |= {"alpha_attempts": fit.attempts, "ppo_attempts": ppo.attempts}
        clock.lap("critic_s")
        return self.learned(state, window, changes, metrics, *finite, host=host)

    def _batch(self, window: Window, values: Advantages) -> tuple[_Batch, Tensor]:
        """The window's rows, with the gradient of every advantage with respect to its own action.

        One backward pass gives all of them. The second result is the share of gradients that were blocked.
        """
        c, (_, done) = self.config, window.ends
        objective = gradest.gae_objective(values.advantage, done)
        by_action, lost = torch.autograd.grad(objective, [window.push, window.lost], allow_unused=True)
        gradient = gradest.gae_action_gradient(by_action, done, gamma=c.gamma, lam=c.lam)
        u, advantage = window.u.detach(), values.advantage.detach()
        parts = (values.x, window.eps, u, window.policy.detach().log_prob(u), advantage, gradient, values.taken)
        return _Batch(*(part.flatten(0, 1) for part in parts)), lost_share(lost, advantage.mean())

    def _fit(
        self, actor: GaussianActor, state: GIPPOState, batch: _Batch, alpha: float, generator: torch.Generator
    ) -> Phase:
        """Up to ``attempts`` fits of the policy to the alpha-policy (Eq. 8 and 10), each over the whole window."""
        c = self.config
        loss = SquaredError(batch.eps, gradest.alpha_policy_target(batch.u, batch.gradient, alpha=alpha))
        options = self._options(actor, batch.x, -(-len(batch.x) // c.alpha_minibatches), c.betas)

        def epochs(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            order = _orders(c.alpha_iterations, c.alpha_minibatches, batch.x, generator)
            adam, losses = fit_policy_(actor, flat, adam, batch.x, order, loss, lr=rate, **options)
            return adam, losses[0].mean(), losses[-1].mean()

        def result(flat: Tensor) -> Tensor:
            return loss.pull(self._policy(actor, flat, batch.x))[0]

        start, rate = (state.actor, state.alpha_adam), float(state.rates[0])
        judge = result if c.judged_by == "result" else None
        limits = {"rate_min": c.alpha_lr_min, "rate_max": c.alpha_lr if c.alpha_rate == "remembered" else None}
        return attempt(epochs, *start, rate, most=c.attempts, compound=True, **limits, result=judge)

    def _ppo(
        self,
        actor: GaussianActor,
        state: GIPPOState,
        fit: Phase,
        batch: _Batch,
        log_prob_alpha: Tensor,
        generator: torch.Generator,
    ) -> Phase:
        """Up to ``attempts`` rounds of ``actor_iterations`` epochs up the clipped surrogate (Eq. 18)."""
        c = self.config
        advantage, near = standardised(batch.advantage, batch.taken), self._near(batch.log_prob, log_prob_alpha)
        count, device = len(batch.x), batch.x.device
        size = -(-count // c.actor_minibatches)
        options = self._options(actor, batch.x, size, c.ppo_betas)

        def surrogate(order: Tensor) -> Surrogate:
            reference = torch.cat([near(rows) for each in order for rows in each.split(size)])
            return Surrogate(batch.u, advantage, reference, c.clip)

        def epochs(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            order = _orders(c.actor_iterations, c.actor_minibatches, batch.x, generator)
            adam, losses = fit_policy_(actor, flat, adam, batch.x, order, surrogate(order), lr=rate, **options)
            return adam, losses[0].mean(), losses[-1].mean()

        def result(flat: Tensor) -> Tensor:
            order = torch.arange(count, device=device)
            loss, minibatches = surrogate(order[None]), order.split(size)
            policies = (self._policy(actor, flat, batch.x[rows]) for rows in minibatches)
            each = [loss.rows(rows, rows).loss(policy) for rows, policy in zip(minibatches, policies, strict=True)]
            return torch.stack(each).mean()

        start, rate = (fit.params, state.actor_adam), float(state.rates[1])
        judge = result if c.judged_by == "result" else None
        return attempt(epochs, *start, rate, most=c.attempts, compound=False, result=judge)

    def _policy(self, actor: GaussianActor, flat: Tensor, x: Tensor) -> Gaussian:
        """Distributions with flat parameters at ``x [B, no]``, without a graph."""
        return distribution(actor, flat, x, native=fits_policy_natively(self.config, actor, x.device))

    def _options(self, actor: GaussianActor, x: Tensor, minibatch: int, betas: tuple[float, float]) -> dict[str, Any]:
        """Options of ``fit_policy_`` that do not change between attempts."""
        optimizer = replace(self.optimizer, betas=betas, eps=self.config.adam_eps)
        native = fits_policy_natively(self.config, actor, x.device)
        return {"minibatch": minibatch, "optimizer": optimizer, "native": native}

    def _near(self, log_prob_old: Tensor, log_prob_alpha: Tensor) -> Callable[[Tensor], Tensor]:
        """Log-densities of the policy that PPO stays near, for the rows of a minibatch."""
        near = self.config.near
        if near in ("old", "alpha"):
            chosen = log_prob_old if near == "old" else log_prob_alpha
            return lambda rows: chosen[rows]
        halfway = gradest.virtual_log_prob(log_prob_old, log_prob_alpha)
        if near == "virtual":
            return lambda rows: halfway[rows]
        distant = (log_prob_alpha - log_prob_old).abs() > _GUARD
        return lambda rows: (log_prob_alpha if bool(distant[rows].any()) else halfway)[rows]

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


def _total_variance(rows: Tensor, taken: Tensor) -> Tensor:
    """Sum over columns of the sample variance of ``rows``, of those that count."""
    weight = taken.to(rows.dtype).unsqueeze(-1)
    number = weight.sum()
    mean = (weight * rows).sum(0) / number
    return (weight * (rows - mean).square()).sum() / (number - 1)


def _orders(epochs: int, minibatches: int, x: Tensor, generator: torch.Generator) -> Tensor:
    """The order of the rows of ``x`` in each epoch ``[epochs, B]``: at random if an epoch has several minibatches."""
    count, device = len(x), x.device
    if minibatches == 1:
        return torch.arange(count, device=device).expand(epochs, -1)
    return torch.stack([torch.randperm(count, generator=generator, device=device) for _ in range(epochs)])


ALGORITHM = GIPPO
