"""Alpha-order batched gradient (Suh et al. 2022)

The form in JAX of ``torch/algorithms/aobg.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.aobg import AOBGConfig
from .._on_policy import Advantages
from .._per_world import pathwise_gradients, score_gradients
from .._state import Worlds
from .._two_orders import Estimated, MixtureLearner, OnPolicyNets
from .._window import Window


@dataclass(frozen=True)
class AOBG(MixtureLearner[AOBGConfig]):
    """Alpha-order batched gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up a mixture of two means
    over worlds: of the gradients of SHAC's objective, and of likelihood-ratio gradients with generalised advantages. It
    fits the critic to TD(lambda) targets and moves the target critic towards it. An update that is not finite changes
    no parameter; it is counted.
    """

    config: AOBGConfig = field(default_factory=AOBGConfig)
    name: ClassVar[str] = "aobg"

    def check(self, env: Env) -> None:
        self.config.halves(env.num_envs)
        super().check(env)

    def figures(self, mixed: gradest.AlphaOrderGradient) -> dict[str, Array]:
        return {
            "alpha": mixed.alpha,
            "first_variance": mixed.variance_first,
            "zeroth_variance": mixed.variance_zeroth,
            "bias": mixed.bias,
        }

    def gradient(
        self, env: Env, nets: OnPolicyNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Estimated], tuple[Array, Array]]:
        c = self.config
        value, window, values, slope, lost = self.first_order(env, nets, worlds, eps)
        first, zeroth = self.batches(env, nets.actor, window, values, eps, slope)
        mixed = gradest.alpha_order_gradient(
            first, zeroth, tolerance=c.tolerance, bound=c.bound, delta=c.delta, slack=c.slack
        )
        return (-value, Estimated(window, values, mixed)), (-mixed.gradient, lost)

    def batches(
        self, env: Env, flat: Array, window: Window, values: Advantages, eps: Array, by_action: Array
    ) -> tuple[Array, Array]:
        """The first-order gradients of some worlds, and the zeroth-order ones of the same or of others: ``[N, P]``.

        ``by_action [T, N, na]`` is the gradient of the objective, a mean over worlds, by the actions before tanh.
        """
        c, actor = self.config, self.actor(env)
        first, zeroth = c.halves(env.num_envs)
        advantage = self.zeroth_weight(window, values.advantage, c.discount_advantages)
        slope, weight = by_action * env.num_envs, advantage / len(advantage)
        x, u = values.x, window.u
        return (
            pathwise_gradients(actor, flat, x[:, first], eps[:, first], slope[:, first]),
            score_gradients(actor, flat, x[:, zeroth], u[:, zeroth], weight[:, zeroth]),
        )


ALGORITHM = AOBG
