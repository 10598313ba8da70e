"""``rollout``: a policy in an environment for a window of steps, as a loop in torch and a ``lax.scan`` in JAX."""

from __future__ import annotations

from typing import Any

from diffsim_core._interop import backend_of
from diffsim_core._protocol import Between, Env, EnvState, Policy, PyTree, Trajectory
from diffsim_core._tree import tree_leaves


def rollout(
    env: Env,
    policy: Policy,
    state: EnvState,
    obs: PyTree,
    num_steps: int,
    key: Any = None,
    *,
    between: Between | None = None,
    inputs: PyTree = (),
) -> tuple[Trajectory, EnvState, PyTree]:
    """Run ``policy`` in ``env`` for ``num_steps`` steps.

    Gradients flow through all of it: cut the window with ``stop_gradient((state, obs))`` before the call.
    With JAX the loop is a ``lax.scan`` and may be inside ``jit`` and ``grad``.

    Args:
        env: any environment.
        policy: ``policy(obs [N, no]) -> action [N, na]``; with ``key``, ``policy(obs, key_t)``. It may return
            ``(action, aux)`` instead, with any tree of arrays ``aux`` of the same structure at every step, for
            instance the distribution it drew from; ``Trajectory.aux`` is all of them, stacked.
        state: from ``env.reset``, or as an earlier rollout returned it.
        obs: the observation that belongs to ``state``.
        num_steps: length T of the window, at least 1.
        key: a JAX random key, from which each step gets its own (JAX only; a torch policy has its own generator).
        between: ``between(t, state, obs) -> (state, obs)``, called once before each step t = 0, ..., T-1. The policy
            sees, the step starts from and the trajectory records its result. It cuts or weights gradients
            between steps; its values may differ too, their shapes and dtypes may not. In JAX ``t`` is traced.
        inputs: arrays ``[T, ...]``, or a tree of them, for instance the noise of the whole window. The policy gets the
            row of its step as one more argument, the last: ``policy(obs, row)``, or ``policy(obs, key_t, row)``.

    Returns:
        The trajectory, and the state and observation that the next rollout starts from (before any ``between``).

    Raises:
        ValueError: if ``num_steps`` is less than 1, ``key`` is given with torch, the policy returns a tuple that is
            not ``(action, aux)``, or an array of ``inputs`` does not have a row for each step.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    for name, leaf in tree_leaves(inputs, "inputs"):
        if not leaf.shape or leaf.shape[0] != num_steps:
            raise ValueError(f"{name} has shape {tuple(leaf.shape)}; its first axis is the {num_steps} steps")
    return backend_of(state.t).rollout(env, policy, state, obs, num_steps, key, between, inputs)
