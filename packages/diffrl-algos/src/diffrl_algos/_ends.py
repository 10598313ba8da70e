"""Where episodes end within a window, as learning counts them; for trajectories of torch and of JAX."""

from __future__ import annotations

from diffsim_core import Trajectory
from diffsim_core._interop import backend_of
from diffsim_core._protocol import Array


def charged(steps: Trajectory, price: float | None) -> Trajectory:
    """The window with a price on divergence: such a step terminates its episode, earns ``-price``, and is valid."""
    if price is None:
        return steps
    xp = backend_of(steps.reward).xp
    return steps._replace(
        reward=xp.where(steps.diverged, -price, steps.reward),
        terminated=steps.terminated | steps.diverged,
        truncated=steps.truncated & ~steps.diverged,
        valid=steps.valid | steps.diverged,
    )


def ends_of(steps: Trajectory) -> tuple[Array, Array]:
    """``(terminated, done)``, both ``[T, N]``, where an episode also ends before a step that is not valid.

    So the value of the state before that step stands for all that would have followed, and such a step is a segment of
    its own, which nothing else depends on.
    """
    xp = backend_of(steps.valid).xp
    cut = xp.concat([~steps.valid[1:], xp.zeros_like(steps.valid[:1])])
    return steps.terminated, steps.done | cut
