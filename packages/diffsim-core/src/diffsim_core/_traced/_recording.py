"""``Recording``: a window of fused steps without a graph, kept so that cotangents can be pulled back by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from diffsim_core._interop_torch import TORCH
from diffsim_core._protocol import EnvState, Policy, Trajectory, Transition
from diffsim_core._rollout_loop import action_and_aux, assemble, first_divergences
from diffsim_core._traced._fused import FusedStep
from diffsim_core._traced._node import Node
from diffsim_core._traced._outcome import Back, Front, Kept
from diffsim_core._tree import tree_leaves, tree_map

if TYPE_CHECKING:
    from diffsim_core._env import TaskEnv

Cotangents = Sequence[torch.Tensor | None]


class NotRecorded(Exception):
    """A step had to be taken by separate operations, which are not kept."""


class StepCotangents(NamedTuple):
    """Of what a step returns, other than the state. Those of observations are lists, one entry for each leaf."""

    final_obs: Cotangents
    obs: Sequence[Cotangents]
    """Terms of a sum, added in this order."""
    reward: torch.Tensor | None
    metrics: Cotangents


class Recording:
    """One roll-out of a fused environment, which need not record a graph.

    The graph of a window has several nodes for each step, and torch spends more time on those than compiled code on
    what they do. Cotangents that are pulled back step by step are those of the graph, bit for bit.

    Args:
        env: whose steps they are.
        fused: its fused steps.
    """

    def __init__(self, env: TaskEnv, fused: FusedStep) -> None:
        self._env, self._fused = env, fused
        self._node: Node
        self._steps: list[Kept] = []
        self._whole: Front = []
        """What all steps write, ``[T, ...]``."""
        self._fronts: Iterator[Front] = iter(())
        """Its rows."""

    def rollout(
        self, policy: Policy, state: EnvState, obs: torch.Tensor, num_steps: int
    ) -> tuple[Trajectory, EnvState, torch.Tensor]:
        """See ``diffsim_core.rollout``, once for each recording. What the policy returns beside actions is left to it.

        The state and observation that are returned lie in memory of the recording, but for ``t``.

        Raises:
            NotRecorded: if a step has to be taken by separate operations.
        """
        states, actions, seen = [], [], []
        for _ in range(num_steps):
            action, _ = action_and_aux(policy(obs))
            states.append(state)
            actions.append(action)
            seen.append(obs)
            state, obs = self._step(state, action, num_steps)
        written = self._node.outcome(self._whole, state.episode)
        # Of memory that it wrote, a recording hands out copies: it reads some of it on the way back.
        final_obs, metrics = (list(map(torch.clone, part)) for part in (written.final_obs, written.metrics))
        terminated, truncated, diverged, _ = written.flags.transpose(0, 1).contiguous().unbind(0)
        seen = torch.stack(seen)
        traced = self._node.traced
        steps = Transition(
            written.reward.clone(),
            terminated,
            truncated,
            tree_map(lambda k: final_obs[k], traced.obs_tree),
            seen,
            diverged,
            dict(zip(traced.metric_names, metrics, strict=True)),
        )
        divergences = first_divergences(TORCH, states, actions, diverged)
        trajectory = assemble(seen, torch.stack(actions), (), steps, divergences)
        return trajectory, state._replace(t=state.t.clone()), obs

    def _step(self, state: EnvState, action: torch.Tensor, num_steps: int) -> tuple[EnvState, Any]:
        self._env._check_action(action)
        node = self._fused.node(state, action)
        if node is None:
            raise NotRecorded
        if not self._steps:
            # There is one in all steps: fused steps have one, until they are refused.
            self._node, self._whole = node, node.front(num_steps)
            self._fronts = zip(*(array.unbind(0) for array in self._whole), strict=True)
        taken = node.kept_step(state, action, next(self._fronts))
        if taken is None:
            raise NotRecorded
        kept, after, obs = taken
        self._steps.append(kept)
        return after, obs

    def leaves(self, state: EnvState) -> list[torch.Tensor]:
        """The arrays of a state that steps change: physics, and what the task remembers."""
        memory = [leaf for _, leaf in tree_leaves(state.task)]
        return [*state.physics, *(memory[k] for k in self._node.made)]

    def with_leaves(self, state: EnvState, leaves: Sequence[torch.Tensor]) -> EnvState:
        """The state with these instead."""
        count = len(state.physics)
        memory = [leaf for _, leaf in tree_leaves(state.task)]
        for k, leaf in zip(self._node.made, leaves[count:], strict=True):
            memory[k] = leaf
        rest = iter(memory)
        task = tree_map(lambda _: next(rest), state.task)
        return state._replace(physics=type(state.physics)(*leaves[:count]), task=task)

    def back(self) -> Back:
        """Room for a ``pull`` to write to, which the next one may not have: it reads what lies there."""
        kept = self._steps[0]
        return self._node.back(kept.arrays, kept.outcome.control)

    def pull(self, k: int, after: Cotangents, step: StepCotangents, back: Back) -> tuple[torch.Tensor, Cotangents]:
        """Cotangents of the action of step ``k`` and of ``leaves`` before it; what no derivative reaches is None.

        Args:
            k: the step; each can be pulled back through more than once.
            after: of ``leaves`` after it.
            step: of the rest.
            back: where the result will lie.
        """
        node, kept = self._node, self._steps[k]
        if kept.outcome.obs is None:
            final, following = [added(*terms) for terms in zip(step.final_obs, *step.obs, strict=True)], []
        else:
            final, following = step.final_obs, [added(*terms) for terms in zip(*step.obs, strict=True)]
        given = [*after, *final, step.reward, *step.metrics, *following]
        pulled = node.spread(node.pull(kept.arrays, kept.outcome, kept.saved.tensor, given, back))
        action, physics, memory, _ = node.split(pulled)
        of_leaf: dict[int, Any] = dict(zip(node.watched, memory, strict=True))
        return action, [*physics, *(of_leaf.get(leaf) for leaf in node.made)]


def added(*terms: torch.Tensor | None) -> torch.Tensor | None:
    """The sum of cotangents from left to right; None where there is none."""
    total = None
    for term in terms:
        total = term if total is None else total if term is None else total + term
    return total
