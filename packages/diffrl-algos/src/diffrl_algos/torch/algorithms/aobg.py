"""Alpha-order batched gradient (Suh et al. 2022)

SHAC's gradient and a likelihood-ratio gradient, mixed in parts that a bound on the error limits. Suh, Simchowitz,
Zhang & Tedrake, Do Differentiable Simulators Give Better Policy Gradients?, ICML 2022, section 4, as Gao et al. 2024
(AGPO, appendix C) compare with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

import gradest
from diffsim_core import Env

from ..._configs.aobg import AOBGConfig
from .._on_policy import Advantages, OnPolicyState
from .._per_world import pathwise_gradients, score_gradients
from .._policy_gradient import PolicyGradient
from .._two_orders import first_order, zeroth_weight
from .._window import Window


@dataclass(frozen=True)
class AOBG(PolicyGradient[AOBGConfig]):
    """Alpha-order batched gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up a mixture of two means
    over worlds: of the gradients of SHAC's objective, and of likelihood-ratio gradients with generalised advantages. It
    fits the critic to TD(lambda) targets and moves the target critic towards it. An update that is not finite changes
    no parameter; it is counted.
    """

    config: AOBGConfig = field(default_factory=AOBGConfig)
    name: ClassVar[str] = "aobg"
    push: ClassVar[bool] = True

    def check(self, env: Env) -> None:
        self.config.halves(env.num_envs)
        super().check(env)

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        _, by_action, _, metrics = first_order(window, values, c.gamma)
        first, zeroth = self.batches(window, values, by_action, state)
        mixed = gradest.alpha_order_gradient(
            first, zeroth, tolerance=c.tolerance, bound=c.bound, delta=c.delta, slack=c.slack
        )
        return mixed.gradient, metrics | {
            "alpha": mixed.alpha,
            "first_variance": mixed.variance_first,
            "zeroth_variance": mixed.variance_zeroth,
            "bias": mixed.bias,
        }

    def batches(
        self, window: Window, values: Advantages, by_action: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, Tensor]:
        """The first-order gradients of some worlds, and the zeroth-order ones of the same or of others: ``[N, P]``.

        ``by_action [T, N, na]`` is the gradient of the objective, a mean over worlds, by the actions before tanh.
        """
        c, network = self.config, self.actor(state.env)
        first, zeroth = c.halves(state.env.num_envs)
        advantage = zeroth_weight(window, values.advantage, c.gamma, c.discount_advantages)
        slope, weight = by_action * state.env.num_envs, advantage / len(advantage)
        x, eps, u = values.x, window.eps, window.u
        return (
            pathwise_gradients(network, state.actor, x[:, first], eps[:, first], slope[:, first]),
            score_gradients(network, state.actor, x[:, zeroth], u[:, zeroth], weight[:, zeroth]),
        )


ALGORITHM = AOBG
