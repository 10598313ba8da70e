"""``rollout``: a policy and an environment for a window of steps; a loop in torch, ``lax.scan`` in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from diffsim_core._interop import framework_of, namespace, stop_gradient
from diffsim_core._protocol import Array, Env, EnvState, PyTree
from diffsim_core._tree import tree_map


class Diverged(NamedTuple):
    """What led each world to its first divergence within a window: enough to see it happen again.

    Every field has one entry for each world; those of worlds that did not diverge mean nothing.
    """

    step: Array
    """Step of the window at which the world diverged, int32 ``[N]``; -1 where it did not."""
    state: EnvState
    """State before that step (``seed`` is a scalar)."""
    action: Array
    """``[N, na]`` action of that step."""


class Trajectory(NamedTuple):
    """A window of ``T`` steps of ``N`` worlds, time first."""

    obs: PyTree
    """``[T, N, no]`` what the policy saw."""
    action: Array
    """``[T, N, na]`` as the policy gave it."""
    reward: Array
    """``[T, N]``"""
    terminated: Array
    """``[T, N]`` bool: the MDP ended with this step."""
    truncated: Array
    """``[T, N]`` bool: stopped by us; bootstrap with V(final_obs)."""
    done: Array
    """``[T, N]`` bool: terminated or truncated; the next row belongs to a new episode."""
    final_obs: PyTree
    """``[T, N, no]`` what the step led to, before any reset."""
    diverged: Array
    """``[T, N]`` bool: left the finite range in this step."""
    metrics: Mapping[str, Array]
    """Task-specific figures, each ``[T, N]``."""
    divergences: Diverged
    """For ``collect_divergences``, which makes records that can be saved and replayed."""


def rollout(
    env: Env,
    policy: Callable[..., Array],
    state: EnvState,
    obs: PyTree,
    num_steps: int,
    key: Any = None,
) -> tuple[Trajectory, EnvState, PyTree]:
    """Let ``policy`` act for ``num_steps`` steps.

    Gradients flow through all of it: cut the window with ``stop_gradient((state, obs))`` before the call.
    With JAX the loop is a ``lax.scan`` and may be inside ``jit`` and ``grad``.

    Args:
        env: any environment.
        policy: ``policy(obs [N, no]) -> action [N, na]``; with ``key``, ``policy(obs, key_t)``.
        state: from ``env.reset``, or as an earlier rollout returned it.
        obs: the observation that belongs to ``state``.
        num_steps: length T of the window, at least 1.
        key: a JAX random key, of which each step gets its own (JAX only; torch policies bring their generator).

    Returns:
        The trajectory, and the state and observation to go on from.

    Raises:
        ValueError: if ``num_steps`` is less than 1, or ``key`` is given with torch.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if framework_of(state.t) == "jax":
        from diffsim_core._interop_jax import scan_rollout

        return scan_rollout(env, policy, state, obs, num_steps, key)
    if key is not None:
        raise ValueError("key is for JAX; a torch policy draws from its own generator")
    return _loop(env, policy, state, obs, num_steps)


def _loop(
    env: Env, policy: Callable[..., Array], state: EnvState, obs: PyTree, num_steps: int
) -> tuple[Trajectory, EnvState, PyTree]:
    xp = namespace("torch")
    states, actions, rows = [], [], []
    for _ in range(num_steps):
        states.append(state)
        action = policy(obs)
        actions.append(action)
        state, transition = env.step(state, action)
        rows.append((obs, transition))
        obs = transition.obs

    def stack(*leaves: Array) -> Array:
        return xp.stack(leaves)

    first, *rest = [transition for _, transition in rows]
    columns = tree_map(stack, first, *rest)
    diverged = columns.diverged
    trajectory = Trajectory(
        obs=tree_map(stack, rows[0][0], *(seen for seen, _ in rows[1:])),
        action=xp.stack(actions),
        reward=columns.reward,
        terminated=columns.terminated,
        truncated=columns.truncated,
        done=columns.terminated | columns.truncated,
        final_obs=columns.final_obs,
        diverged=diverged,
        metrics=columns.metrics,
        divergences=_first_divergences(xp, states, actions, diverged),
    )
    return trajectory, state, obs


def _first_divergences(xp: Any, states: list[EnvState], actions: list[Array], diverged: Array) -> Diverged:
    num_envs = diverged.shape[1]
    found = xp.any(diverged, axis=0)
    first = xp.argmax(xp.astype(diverged, xp.int32), axis=0)
    step = xp.where(found, xp.astype(first, xp.int32), xp.full_like(first, -1, dtype=xp.int32))
    start = stop_gradient(states[0])
    if not bool(found.any()):
        return Diverged(step, start, stop_gradient(actions[0]))
    worlds = xp.arange(num_envs, device=diverged.device)

    def pick(*leaves: Array) -> Array:
        return xp.stack(leaves)[first, worlds].detach()

    seedless = [state._replace(seed=None) for state in states]
    return Diverged(step, tree_map(pick, *seedless)._replace(seed=start.seed), pick(*actions))
