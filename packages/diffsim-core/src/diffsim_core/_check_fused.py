"""Whether a task's steps can be one operation each (``fused=True``), and whether these are the task's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from diffsim_core._env import TaskEnv
from diffsim_core._interop import from_numpy
from diffsim_core._protocol import Env

_STEPS = 20


class FusedReport(NamedTuple):
    """What was found."""

    fused: bool | None
    """None for environments that never have them, such as those on JAX arrays."""
    because: str
    """Why steps cannot be one operation each; empty if they can."""
    violations: list[str]
    """Where compiled code and the task's own give different values or gradients."""


def check_fused(make: Callable[..., Env], *, num_envs: int, seed: int) -> FusedReport:
    """Compare steps in both ways, in both number types: at first states, on the way, disturbed, and at time limits.

    Args:
        make: ``make(num_envs=, dtype=) -> Env``.
        num_envs: number of worlds.
        seed: of initial states and random actions.
    """
    violations: list[str] = []
    for dtype in ("float64", "float32"):
        env = make(num_envs=num_envs, dtype=dtype)
        if not isinstance(env, TaskEnv) or env.arrays != "torch" or env.device != "cpu":
            return FusedReport(None, "", [])
        from diffsim_core._traced import Different, Untraceable, compiled_node, disagreement

        state, _ = env.reset(seed)
        random = np.random.default_rng(seed)
        shape = (num_envs, env.spec.num_actions)
        actions = [from_numpy(random.uniform(-1, 1, shape).astype(dtype), state.t) for _ in range(_STEPS + 1)]
        try:
            node, _ = compiled_node(env, state, actions[0])
        except Different as error:
            violations.append(f"in {dtype}, {error}")
            continue
        except Untraceable as error:
            return FusedReport(False, str(error), violations)
        for action in actions[:-1]:
            state, _ = env._step(state, action)
        if (found := disagreement(env, node.step, state, actions[-1])) is not None:
            violations.append(f"in {dtype}, {found} after {_STEPS} steps, between compiled code and the task's own")
    return FusedReport(not violations, "; ".join(violations), violations)
