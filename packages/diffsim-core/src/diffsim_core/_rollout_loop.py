"""``rollout`` as a Python loop, for arrays that hold their numbers, and what every form of it shares."""

from __future__ import annotations

from typing import Any

from diffsim_core._backend import Backend
from diffsim_core._protocol import Array, Between, Diverged, Env, EnvState, Policy, PyTree, Trajectory, Transition
from diffsim_core._tree import tree_leaves, tree_map


def action_and_aux(returned: Any) -> tuple[Array, PyTree]:
    """What a policy returned: an action is an array, so a tuple is ``(action, aux)``.

    Raises:
        ValueError: for a tuple of any other length.
    """
    if not isinstance(returned, tuple):
        return returned, ()
    if len(returned) != 2:
        raise ValueError(f"the policy returned a tuple of {len(returned)}; return an action, or (action, aux)")
    return returned[0], returned[1]


def assemble(obs: PyTree, action: Array, aux: PyTree, steps: Transition, divergences: Diverged) -> Trajectory:
    """A trajectory of its columns, all of them stacked over time."""
    return Trajectory(
        obs=obs,
        action=action,
        reward=steps.reward,
        terminated=steps.terminated,
        truncated=steps.truncated,
        done=steps.terminated | steps.truncated,
        final_obs=steps.final_obs,
        diverged=steps.diverged,
        metrics=steps.metrics,
        divergences=divergences,
        valid=~steps.diverged if steps.valid is None else steps.valid,
        aux=aux,
    )


def loop_rollout(
    backend: Backend,
    env: Env,
    policy: Policy,
    state: EnvState,
    obs: PyTree,
    num_steps: int,
    between: Between | None,
    inputs: PyTree = (),
) -> tuple[Trajectory, EnvState, PyTree]:
    """``rollout`` step by step; see there."""
    xp = backend.xp
    states, actions, rows = [], [], []
    has_rows = any(tree_leaves(inputs))
    for t in range(num_steps):
        if between is not None:
            state, obs = between(t, state, obs)
        states.append(state)
        row = (tree_map(lambda leaf, t=t: leaf[t], inputs),) if has_rows else ()
        action, aux = action_and_aux(policy(obs, *row))
        actions.append(action)
        state, transition = env.step(state, action)
        rows.append((obs, aux, transition))
        obs = transition.obs

    def stack(*leaves: Array) -> Array:
        return xp.stack(leaves)

    observed, aux, steps = tree_map(stack, *rows)
    divergences = first_divergences(backend, states, actions, steps.diverged)
    return assemble(observed, xp.stack(actions), aux, steps, divergences), state, obs


def first_divergences(backend: Backend, states: list[EnvState], actions: list[Array], diverged: Array) -> Diverged:
    """Of states and actions, a row for each step; without a divergence they mean nothing.

    Nothing is read from a device that would make the host wait.
    """
    xp = backend.xp
    any_step = xp.any(diverged, axis=0)
    first = xp.argmax(xp.astype(diverged, xp.int32), axis=0)
    step = xp.where(any_step, xp.astype(first, xp.int32), xp.full_like(first, -1, dtype=xp.int32))
    start = tree_map(backend.stop_gradient, states[0])
    if backend.can_read(str(diverged.device)) and not bool(xp.any(any_step)):
        return Diverged(step, start, backend.stop_gradient(actions[0]))
    worlds = xp.arange(diverged.shape[1], device=diverged.device)

    def pick(*leaves: Array) -> Array:
        return xp.stack(leaves)[first, worlds]

    seedless = [state._replace(seed=None) for state in states]
    state, action = backend.no_grad(lambda: (tree_map(pick, *seedless), pick(*actions)))
    return Diverged(step, state._replace(seed=start.seed), action)
