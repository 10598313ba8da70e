"""``Returned``: what a fused step returns, from what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from diffsim_core._protocol import EnvState, PyTree, Transition
from diffsim_core._traced._outcome import DONE, Outcome
from diffsim_core._traced._trace import Traced
from diffsim_core._tree import tree_leaves, tree_map

if TYPE_CHECKING:
    from diffsim_core._env import TaskEnv


class Returned:
    """Makes states, observations and transitions.

    Args:
        env: whose steps they are.
        traced: its task.
        made: numbers of the leaves of the task's memory that steps write.
    """

    def __init__(self, env: TaskEnv, traced: Traced, made: Sequence[int]) -> None:
        self._env, self._traced, self._made = env, traced, made

    def all(
        self, state: EnvState, outcome: Outcome, memory: list[torch.Tensor], outputs: Iterator[torch.Tensor]
    ) -> tuple[EnvState, Transition]:
        """All that ``TaskEnv.step`` returns.

        Args:
            state: before the step.
            outcome: what the step wrote.
            memory: all leaves of the task's memory before it; the list may be written to.
            outputs: those of the outcome, which may have a graph.
        """
        physics = [next(outputs) for _ in outcome.physics]
        remembered = [next(outputs) for _ in outcome.remembered]
        seen = [next(outputs) for _ in outcome.final_obs]
        reward = next(outputs)
        metrics = {name: next(outputs) for name in self._traced.metric_names}
        terminated, truncated, diverged, _ = outcome.flags.unbind(0)
        final_obs = obs = self.observation(seen)
        if outcome.obs is not None:
            obs = self.observation([next(outputs) for _ in seen])
        after = self.state(state, outcome, memory, physics, remembered)
        return after, Transition(reward, terminated, truncated, final_obs, obs, diverged, metrics)

    def state(
        self,
        state: EnvState,
        outcome: Outcome,
        memory: list[torch.Tensor],
        physics: Sequence[torch.Tensor],
        remembered: Sequence[torch.Tensor],
    ) -> EnvState:
        """The state after a step, with these physics, and these leaves of memory for those that it writes."""
        env, constants = self._env, state.constants
        if outcome.obs is not None:
            done = outcome.flags[DONE]
            if outcome.begun is not None:
                begun = [leaf for _, leaf in tree_leaves(outcome.begun)]
                memory = [env._select(done, new, old) for new, old in zip(begun, memory, strict=True)]
            constants = env._renewed_constants(state, outcome.episode, done)
        for k, leaf in zip(self._made, remembered, strict=True):
            memory[k] = leaf
        return EnvState(
            physics=env.task.dynamics.state_type(*physics),
            task=tree_map(lambda k: memory[k], self._traced.memory_tree),
            t=outcome.t,
            episode=outcome.episode,
            seed=state.seed,
            constants=constants,
        )

    def observation(self, leaves: Sequence[torch.Tensor]) -> PyTree:
        """With these leaves."""
        return tree_map(lambda k: leaves[k], self._traced.obs_tree)
