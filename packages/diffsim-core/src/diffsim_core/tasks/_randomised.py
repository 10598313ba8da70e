"""``Randomised``: domain randomisation of a rigid-body task, whose parameters are drawn for each world and episode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffsim_core._interop import from_numpy
from diffsim_core._protocol import Array, Random, Task

_STREAM = 1 << 20
"""Stream of the parameters' random numbers; tasks number theirs from zero."""


class Randomised:
    """A task with domain randomisation: ``Randomised(task, {"link_density:torso": (0.8, 1.2)})``.

    Every name (see ``diffsim_core.rigid.Parameters``) gets a factor for each world and episode, uniform in its range,
    by which all parameters it selects are multiplied. They are constants of the simulator, ``state.constants.params``:
    they stay with the episode, gradients with respect to them flow, and a diverged world can be replayed with its own.

    Args:
        task: a task on ``RigidDynamics``.
        ranges: lower and upper factor for each name.

    Raises:
        ValueError: for an unknown name, a range that is empty, not finite or gives impossible values, or a name that
            selects only zeros.
        TypeError: if the task's dynamics has no parameters.
    """

    def __init__(self, task: Task, ranges: Mapping[str, tuple[float, float]]) -> None:
        dynamics: Any = task.dynamics
        if not hasattr(dynamics, "with_parameters"):
            raise TypeError(
                f"randomize needs a task on RigidDynamics; that of {task.name!r} is {type(dynamics).__name__}"
            )
        self.task = task
        self.dynamics = dynamics.with_parameters(tuple(ranges))
        parameters = self.dynamics.parameters
        self.ranges = {name: _checked(name, given) for name, given in ranges.items()}
        self._group = np.zeros(len(parameters), dtype=np.int64)
        for k, (name, (low, high)) in enumerate(self.ranges.items()):
            group = list(parameters.groups[name])
            self._group[group] = k
            if not parameters.nominal[group].any():
                raise ValueError(f"randomize: {name!r} is zero in the model, so a factor has no effect; leave it out")
            for factor in (low, high):
                values = parameters.nominal.copy()
                values[group] *= factor
                parameters.check(values)
        limits = np.array(list(self.ranges.values()), dtype=np.float64).reshape(-1, 2)
        self._low = limits[self._group, 0].astype(self.dynamics.dtype)
        self._width = (limits[self._group, 1] - limits[self._group, 0]).astype(self.dynamics.dtype)
        self._nominal = parameters.nominal.astype(self.dynamics.dtype)

    def __getattr__(self, name: str) -> Any:
        if name == "task":  # a copy has no attributes yet
            raise AttributeError(name)
        return getattr(self.task, name)

    def constants(self, xp: Any, random: Random) -> tuple[Array]:
        """The model parameters of an episode."""
        drawn = random.uniform(_STREAM, (len(self.ranges),))
        factor = xp.take(drawn, from_numpy(self._group, drawn), axis=1)
        low, width, nominal = (from_numpy(part, drawn) for part in (self._low, self._width, self._nominal))
        return (nominal * (low + width * factor),)


def _checked(name: str, given: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(x) for x in given)
    except (TypeError, ValueError):
        raise ValueError(f"randomize: {name!r} has {given!r}; give (lowest, highest) factor") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"randomize: {name!r} has {given!r}; give finite factors, the lower first")
    return low, high
