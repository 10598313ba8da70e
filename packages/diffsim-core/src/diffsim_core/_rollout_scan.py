"""``rollout`` as a ``lax.scan``, for JAX arrays: one compiled step, whatever the length of the window."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from diffsim_core._protocol import Between, Diverged, Env, EnvState, Policy, PyTree, Trajectory
from diffsim_core._rollout_loop import action_and_aux, assemble


def scan_rollout(
    env: Env,
    policy: Policy,
    state: EnvState,
    obs: PyTree,
    num_steps: int,
    key: Any,
    between: Between | None,
    inputs: PyTree,
) -> tuple[Trajectory, EnvState, PyTree]:
    """``rollout`` with JAX arrays; see there."""
    # Constants that no reset changes stay out of what the scan carries, and so out of what it keeps of every step.
    kept = () if getattr(env, "constants_vary", True) else state.constants

    has_rows = bool(jax.tree.leaves(inputs))

    def whole(state: EnvState) -> EnvState:
        return state._replace(constants=kept) if kept else state

    def moving(state: EnvState) -> EnvState:
        return state._replace(constants=()) if kept else state

    def act(observed: PyTree, t: jax.Array, row: PyTree) -> tuple[jax.Array, PyTree]:
        keys = () if key is None else (jax.random.fold_in(key, t),)
        return action_and_aux(policy(observed, *keys, *((row,) if has_rows else ())))

    def body(carry: tuple[EnvState, PyTree, Diverged], step: tuple[jax.Array, PyTree]) -> tuple[Any, Any]:
        (before, observed, first), (t, row) = carry, step
        before = whole(before)
        if between is not None:
            before, observed = between(t, before, observed)
        action, aux = act(observed, t, row)
        after, transition = env.step(before, action)
        new = transition.diverged & (first.step < 0)
        this = jax.lax.stop_gradient(Diverged(jnp.full_like(first.step, t), moving(before), action))

        def select(current: jax.Array, kept: jax.Array) -> jax.Array:
            if current.ndim == 0:
                return kept
            return jnp.where(new.reshape((-1,) + (1,) * (current.ndim - 1)), current, kept)

        first = jax.tree.map(select, this, first)
        return (moving(after), transition.obs, first), (observed, action, aux, transition)

    action, _ = jax.eval_shape(act, obs, jnp.int32(0), jax.tree.map(lambda leaf: leaf[0], inputs))
    never = jnp.full(state.t.shape, -1, jnp.int32)
    first = jax.lax.stop_gradient(Diverged(never, moving(state), jnp.zeros(action.shape, action.dtype)))
    (state, last, first), (observed, actions, aux, steps) = jax.lax.scan(
        body, (moving(state), obs, first), (jnp.arange(num_steps), inputs)
    )
    first = first._replace(state=whole(first.state))
    return assemble(observed, actions, aux, steps, first), whole(state), last
