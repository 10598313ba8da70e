"""The environment as AGPO sees it: a step is judged by the gradients it gives, and cut where its credit is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Transition

from .._configs import AGPOConfig
from ._policy import NoisyPolicy
from ._state import map_leaves


class Judge:
    """Stands between ``rollout`` and the worlds for one window; give it ``act`` for the policy.

    After each step it takes the gradient of that step alone at the action (Gao et al. 2024, Eq. 1 and 2), which costs
    one vector-Jacobian product of the simulator, finds the ratio (Eq. 3) and the credit, and where a new piece of an
    episode begins it cuts the state from the graph.
    """

    def __init__(
        self,
        env: Env,
        noisy: NoisyPolicy,
        q_value: Callable[[Tensor, Tensor], Tensor],
        next_action: Callable[[Tensor], Tensor],
        config: AGPOConfig,
    ) -> None:
        """``q_value(obs, action) -> [N]`` is the least target Q; ``next_action(obs)`` acts with fresh noise."""
        self._env, self._noisy, self._q_value, self._next_action, self._config = (
            env,
            noisy,
            q_value,
            next_action,
            config,
        )
        self.spec, self.num_envs = env.spec, env.num_envs
        self._obs = self._beta = torch.empty(0)
        self.q: list[Tensor] = []
        """``Q(s_t, a_t)`` of each step ``[N]``."""
        self.q_next: list[Tensor] = []
        """``Q(final_obs_t, a')`` of each step ``[N]``."""
        self.alpha: list[Tensor] = []
        """Mixture ratio of each step, scalars."""

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self._env.reset(seed)

    def act(self, obs: Tensor) -> Tensor:
        self._obs = obs
        return self._noisy(obs)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        c = self._config
        # A world whose step has no finite gradient teaches by its Q function: zero times infinity would be NaN.
        taken = gradest.gate_nonfinite(action)
        state, step = self._env.step(state, taken)
        done = step.terminated | step.truncated
        q, q_next = self._q_value(self._obs, action), self._q_value(step.final_obs, self._next_action(step.final_obs))
        alpha = self._ratio(q, q_next, step, action, taken)
        if len(self._beta) == 0:
            self._beta = torch.ones_like(step.reward)
        self._beta, restart = gradest.credit_step(
            self._beta, alpha, done, threshold=c.threshold, truncation=c.truncation
        )
        self.q.append(q)
        self.q_next.append(q_next)
        self.alpha.append(alpha)

        def gate(name: str, leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.requires_grad:
                return leaf
            return gradest.gate_nonfinite(gradest.gate_gradient(leaf, ~restart))

        physics, task = map_leaves(gate, (state.physics, state.task))
        return state._replace(physics=physics, task=task), step._replace(obs=gate("obs", step.obs))

    def _ratio(self, q: Tensor, q_next: Tensor, step: Transition, action: Tensor, taken: Tensor) -> Tensor:
        """``alpha`` of this step, a scalar."""
        c = self._config
        if c.ratio == "fixed":
            return torch.full_like(q[0].detach(), c.fixed_ratio)
        follows = torch.where(step.terminated, torch.zeros_like(q_next), q_next)
        simulated = (c.reward_scale * step.reward + c.gamma * follows).sum()
        (first,) = torch.autograd.grad(simulated, taken, retain_graph=True)
        (zeroth,) = torch.autograd.grad(q.sum(), action, retain_graph=True)
        # Worlds that end with this step are no measure: what follows them is another thing, or nothing.
        going_on = ~(step.terminated | step.truncated)
        return gradest.adaptive_ratio(first, zeroth, going_on, variance=c.variance, nonfinite=c.nonfinite)
