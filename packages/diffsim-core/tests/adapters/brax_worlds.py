"""One world in JAX, as Brax has them, that compiles in no time: two points on springs, with all that can happen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from brax.envs import Env, State

EXPLODES, STIFF = 0.9, 0.5
"""First action above which a step gives NaN, and second one at which its gradient is not finite."""


class Toy(Env):
    """Numbers, integers, bools and a random key in its state; an episode ends where a point is far from the origin."""

    dt, action_size, observation_size, backend = 0.1, 2, 5, "toy"

    def __init__(self, far=0.22, on_reset=lambda: None):
        self.far = far
        self.on_reset = on_reset

    def reset(self, rng):
        self.on_reset()
        rng, draw = jax.random.split(rng)
        q = jax.random.uniform(draw, (2,), minval=-0.2, maxval=0.2)
        body = {"q": q, "v": jnp.zeros(2), "steps": jnp.int32(0), "left": q[0] < 0}
        metrics = {"speed": jnp.zeros(())}
        return State(body, self._obs(body), jnp.zeros(()), jnp.zeros(()), metrics, {"rng": rng})

    def step(self, state, action):
        rng, draw = jax.random.split(state.info["rng"])
        body, dt = state.pipeline_state, self.dt
        push = action - jnp.sin(body["q"]) + 0.3 * jax.random.normal(draw, (2,))
        v = body["v"] + dt * push + 1e-3 * jnp.sqrt(jnp.abs(action[1] - STIFF))
        v = jnp.where(action[0] > EXPLODES, jnp.nan, v)
        q = body["q"] + dt * v
        body = {"q": q, "v": v, "steps": body["steps"] + 1, "left": q[0] < 0}
        return state.replace(
            pipeline_state=body,
            obs=self._obs(body),
            reward=1.0 - q @ q - 0.1 * action @ action + 0.01 * jnp.where(state.pipeline_state["left"], 1, 2) * v[0],
            done=jnp.where(jnp.abs(q).max() > self.far, 1.0, 0.0),
            metrics={"speed": jnp.abs(v).sum()},
            info={"rng": rng},
        )

    def _obs(self, body):
        return jnp.concatenate([body["q"], body["v"], 0.1 * body["steps"][None]])


def episode_key(seed, world, episode):
    """The random key that names an episode."""
    key = jax.random.PRNGKey(0)
    for number in (seed % 2**32, seed >> 32, world, episode):
        key = jax.random.fold_in(key, number)
    return key
