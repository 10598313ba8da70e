"""LR+RP: the two policy gradients of one objective, mixed so that the mixture varies least.

Parmas, Rasmussen, Peters & Doya, PIPPS: Flexible Model-Based Policy Search Robust to the Curse of Chaos, ICML 2018, as
Son et al. 2023 (7.4.1) compare with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

import gradest
from diffsim_core import Env
from gradest.torch import per_sample_gradients

from .._configs import LRRPConfig
from ._distributions import Gaussian
from ._on_policy import Networks, Window
from ._policy_gradient import PolicyGradient, PolicyGradientState


@dataclass(frozen=True)
class LRRP(PolicyGradient):
    """LR and RP mixed by the inverse of their variances over worlds.

    Both are estimates of the gradient of one objective, the TD(lambda) returns of the pieces of episodes in a window:
    LR with advantages weighted by ``(gamma lam)^k`` after ``k`` steps of a piece, RP through the simulator.
    """

    config: LRRPConfig = field(default_factory=LRRPConfig)
    name: str = field(default="lrrp", init=False)

    def init(self, env: Env, seed: int) -> PolicyGradientState:
        """The state before the first update.

        Raises:
            ValueError: as ``PolicyGradient.init``, or for a single world, over which nothing varies.
        """
        least = max(2, self.config.variance_samples)
        if env.num_envs < least:
            raise ValueError(f"num_envs is {env.num_envs}; LRRP takes variances over at least {least} worlds")
        return super().init(env, seed)

    def _estimate(self, window: Window, actor: Tensor, state: PolicyGradientState) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        returns = gradest.reparameterised_objective(
            window.trajectory.reward, window.value_next, *window.ends, gamma=c.gamma, lam=c.lam
        )
        pieces = gradest.segment_starts(window.trajectory.done)
        scale = pieces.shape[1] / int(pieces.sum())
        rp, lr = (scale * part for part in self._per_world(window, returns, state))
        used = c.variance_samples or len(rp)
        variance = gradest.inverse_variance_gradient(rp[:used], lr[:used], covariance=c.covariance, clip=True)
        mixture = gradest.mix_gradients(rp.mean(0), lr.mean(0), variance.alpha)
        figures = {
            "actor_loss": -scale * returns.mean(),
            "rp_weight": variance.alpha,
            "rp_variance": variance.variance_first,
            "lr_variance": variance.variance_zeroth,
        }
        return mixture, figures

    def _per_world(self, window: Window, returns: Tensor, state: PolicyGradientState) -> tuple[Tensor, Tensor]:
        """The RP and the LR gradient of each world, ``[N, P]``, from one backward pass through the simulator.

        Worlds are independent and parameters enter only through the actions ``u = mu + sigma eps``, so that a world's
        RP gradient is that of ``sum_t <dJ/du_t, u_t>`` with the derivatives by the actions held fixed.
        """
        c = self.config
        network = Networks.of(c, state.env).actor
        (*pull,) = torch.autograd.grad(returns.sum(), window.noisy.each_sample())

        def rp(flat: Tensor, x: Tensor, eps: Tensor, pull: Tensor) -> Tensor:
            policy: Gaussian = network(network.split(flat), x)
            return (pull * (policy.mean + eps * policy.logstd.exp())).sum()

        def lr(flat: Tensor, x: Tensor, u: Tensor, weight: Tensor) -> Tensor:
            policy: Gaussian = network(network.split(flat), x)
            return (weight * policy.log_prob(u)).sum()

        x, eps, u = (part.transpose(0, 1) for part in (window.x, window.eps, window.u))
        flat = state.actor.detach()
        weight = gradest.segment_discounted(window.advantage.detach(), window.trajectory.done, factor=c.gamma * c.lam)
        return (
            per_sample_gradients(rp, flat, x, eps, torch.stack(pull).transpose(0, 1)),
            per_sample_gradients(lr, flat, x, u, weight.transpose(0, 1)),
        )
