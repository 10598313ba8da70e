"""A window of fused steps and of a compiled policy as one node of the graph.

As a graph, every step is four nodes or more, which torch makes, keeps and goes back through; at a few dozen worlds that
takes longer than all that the simulator and the networks compute. Here the window is rolled out without a graph, and
cotangents are pulled back step by step, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, TaskEnv, Trajectory
from diffsim_core._interop_torch import once
from diffsim_core._shelf import Borrowed
from diffsim_core._traced import NotRecorded, Recording, StepCotangents, added
from diffsim_core._tree import tree_leaves

from ._credit_graph import CreditGraph
from ._native_policy import NativeSteps, PolicyCode
from ._normalize import Normalizer

Cotangent = Tensor | None


class _Row(NamedTuple):
    """What a step's policy read."""

    obs: Tensor
    x: Tensor
    """The same, normalised."""
    eps: Tensor
    push: Tensor | None
    activations: Tensor
    """Of its network."""


class _Tape(NamedTuple):
    """All that the way back needs."""

    recording: Recording
    policy: PolicyCode
    normalizer: Normalizer
    rows: list[_Row]
    kept: Borrowed
    """Numbers that all the activations lie in."""
    links: CreditGraph | None
    leaves: int
    """Arrays of an environment's state that steps change."""


def roll_out(
    env: Env,
    policy: NativeSteps,
    normalizer: Normalizer,
    state: EnvState,
    obs: Tensor,
    noise: Tensor,
    push: Tensor | None,
    lost: Tensor,
    links: CreditGraph | None = None,
) -> tuple[Trajectory, EnvState, Tensor] | None:
    """What ``diffsim_core.rollout`` gives for a compiled policy, as one node; ``Trajectory.aux`` is ``(mean, log sigma
    or (), u)``.

    None where steps are not fused, where nothing asks for gradients, or where the worlds' state has a graph of its own.

    Args:
        env: the worlds.
        policy: the steps of the actor.
        normalizer: of observations.
        state: where the window begins.
        obs: ``[N, no]``, its observation.
        noise: ``[T, N, na]``, as ``NativeSteps`` takes it.
        push: ``[T, N, na]`` or None, is added to ``u``.
        lost: zeros ``[T, N]`` for ``gate``.
        links: between the steps, and in the actions.
    """
    recording = env.recording() if isinstance(env, TaskEnv) and isinstance(obs, Tensor) else None
    inputs = (policy.parameters, noise, push, lost, None if links is None else links.action_push)
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    if recording is None or not wanted or any(leaf.requires_grad for _, leaf in tree_leaves((state, obs))):
        return None
    length, worlds = noise.shape[:2]
    tape = _Tape(recording, policy.code, normalizer, [], policy.code.borrow(length, worlds), links, 0)
    with torch.no_grad():
        pushes = [None] * length if push is None else push.unbind(0)
        rows = zip(noise.unbind(0), pushes, tape.kept.tensor.view(length, -1).unbind(0), strict=True)
        policy_outputs = policy.code.outputs(length, worlds)
        written = zip(*(output.unbind(0) for output in policy_outputs), strict=True)

        def act(obs: Tensor) -> Tensor:
            row, outputs = _Row(obs, normalizer(obs).contiguous(), *next(rows)), next(written)
            tape.rows.append(row)
            policy.code.forward(row.x, row.eps, row.push, outputs, row.activations)
            return outputs[-1] if links is None else links.enter(len(tape.rows) - 1, outputs[-1])

        try:
            steps, after, last = recording.rollout(act, state, obs, length)
        except NotRecorded:
            return None  # and the window is taken once more by separate operations
    changed = recording.leaves(after)
    tape = tape._replace(leaves=len(changed))
    # The tape has the state and observation after the last step, and a node must not hold what it returns.
    outputs = [*map(torch.clone, changed), last.clone(), steps.obs, steps.action, steps.reward, steps.final_obs]
    outputs += [*steps.metrics.values(), *policy_outputs[:-1]]
    made: Iterator[Tensor] = iter(_Window.apply(tape, outputs, *inputs))  # pyright: ignore[reportArgumentType]
    after = recording.with_leaves(after, [next(made) for _ in changed])
    last, observed, action, reward, final_obs = (next(made) for _ in range(5))
    metrics = {name: next(made) for name in steps.metrics}
    mean, *logstd, u = made
    steps = steps._replace(obs=observed, action=action, reward=reward, final_obs=final_obs, metrics=metrics)
    return steps._replace(aux=(mean, logstd[0] if logstd else (), u)), after, last


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, tape: _Tape, outputs: Sequence[Tensor], *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.tape = tape
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Cotangent) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs = [x for x in ctx.saved_tensors if x is not None]
        learns = ctx.needs_input_grad[2]  # whether the parameters' cotangent is asked for
        pulled = iter(once(lambda: _pull(ctx.tape, cotangents, ctx.saved_tensors, learns), inputs, cotangents))
        return (None, None, *(None if x is None else next(pulled) for x in ctx.saved_tensors))


def _pull(tape: _Tape, cotangents: Sequence[Cotangent], inputs: Sequence[Tensor | None], learns: bool) -> list[Tensor]:
    """Cotangents of parameters, noise, push (if there is one) and ``lost``, from those of the outputs.

    That of the parameters is zero unless the policy ``learns`` from it, which saves a third of the way back.
    """
    parameters, noise, push, lost, action_push = inputs
    assert parameters is not None and noise is not None and lost is not None
    length, links = len(tape.rows), tape.links
    by_state: Sequence[Cotangent] = cotangents[: tape.leaves]
    by_last, *stacked = cotangents[tape.leaves :]
    columns = [[None] * length if g is None else g.contiguous().unbind(0) for g in stacked]
    by_obs, by_action, by_reward, by_final, *rest = columns
    count = 4 if tape.policy.spread else 3
    by_metrics, by_policy = rest[: 1 - count], rest[1 - count :]

    by_u, by_lost = torch.zeros_like(noise), torch.zeros_like(lost)
    by_parameters, of_step = torch.zeros_like(parameters), torch.empty_like(parameters) if learns else None
    by_action_push = None if action_push is None else torch.empty_like(action_push)
    # Terms of the cotangent of the observation after a step, in the order in which a graph would add them.
    following: list[list[Cotangent]] = [[by_last]]
    backs = [tape.recording.back() for _ in range(2)]  # a step's cotangents are read by the one before it
    by_x_of_step, of_u, of_lost = torch.empty_like(tape.rows[0].x), by_u.unbind(0), by_lost.unbind(0)
    for t in reversed(range(length)):
        row = tape.rows[t]
        step = StepCotangents([by_final[t]], following, by_reward[t], [column[t] for column in by_metrics])
        action, by_state = tape.recording.pull(t, by_state, step, backs[t % 2])
        of_trajectory = by_action[t]
        if of_trajectory is not None:
            action = of_trajectory + action
        if by_action_push is not None:
            by_action_push[t] = action
        of_outputs = [*(column[t] for column in by_policy), action if links is None else links.reaches(action)]
        by_x = None
        if any(g is not None for g in of_outputs):
            by_x = by_x_of_step if t else None
            results = {"by_parameters": of_step, "by_x": by_x, "by_u": of_u[t], "lost": of_lost[t]}
            tape.policy.back(row.x, row.eps, row.push, of_outputs, row.activations, **results)
            if of_step is not None:
                by_parameters += of_step
        following = [[by_obs[t]], [None if by_x is None else tape.normalizer.pull(row.obs, by_x)]]
        if links is not None and t:
            by_state = [links.passed(t - 1, g) for g in by_state]
            following = [[links.passed(t - 1, added(*following[0], *following[1]))]]
    by_push = [] if push is None else [by_u.clone()]
    return [by_parameters, by_u, *by_push, by_lost, *([] if by_action_push is None else [by_action_push])]
