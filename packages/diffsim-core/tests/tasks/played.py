"""Random play, and the tasks' names."""

from __future__ import annotations

import numpy as np
import torch

RUNNERS = ("ant", "humanoid")
PLANAR = ("hopper", "half_cheetah", "walker2d")
TASKS = ("cartpole", *PLANAR, *RUNNERS, "humanoid_mtu")


def rollout(env, steps, seed=0, scale=1.0):
    """States, actions and transitions of a random policy."""
    generator = torch.Generator().manual_seed(seed)
    state, obs = env.reset(seed)
    rows = []
    for _ in range(steps):
        noise = torch.rand(env.num_envs, env.spec.num_actions, generator=generator, dtype=obs.dtype)
        action = scale * (2 * noise - 1)
        after, transition = env.step(state, action)
        rows.append((state, action, after, transition))
        state = after
    return rows


def placed(env, q, qd=None):
    """A state of ``env`` with these coordinates and velocities (zero if not given), ``[N, nq]`` and ``[N, nv]``."""
    state, _ = env.reset(0)
    qd = np.zeros(state.physics.qd.shape) if qd is None else qd
    physics = (torch.tensor(np.array(x, order="C"), dtype=state.physics.q.dtype) for x in (q, qd))
    return state._replace(physics=type(state.physics)(*physics))
