"""What every rigid-body task shares: a model file, a control step, and actions that span the motors' ranges."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from diffsim_core._interop import from_numpy
from diffsim_core._protocol import Array, PyTree
from diffsim_core.io import load_model
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel


def bundled_model(name: str, **options: Any) -> RigidModel:
    """Load ``models/NAME.xml`` of this package; ``options`` as in :func:`diffsim_core.io.load_model`."""
    with resources.as_file(resources.files("diffsim_core.tasks") / "models" / f"{name}.xml") as path:
        return load_model(path, **options)


CONTROL_DT = 1 / 60
"""Duration of a control step of every task of the SHAC paper [s]."""


def bundled_dynamics(name: str, *, laws: Mapping[str, str | None], **options: Any) -> RigidDynamics:
    """The simulator of a bundled model; ``laws`` as in ``load_model``, ``options`` as in :class:`RigidDynamics`."""
    return RigidDynamics(bundled_model(name, **laws), dt=CONTROL_DT, **options)


class RigidTask:
    """Base of rigid-body tasks; a task adds ``initial``, ``observe``, ``reward`` and, if it can end, ``terminated``.

    Args:
        name: Task name.
        dynamics: The simulator.
        horizon: Control steps in an episode.
        obs_names: One name per observation entry, with its unit.
    """

    def __init__(self, name: str, dynamics: RigidDynamics, *, horizon: int, obs_names: tuple[str, ...]) -> None:
        if horizon < 1:
            raise ValueError(f"episode_length={horizon!r} must be at least 1 control step")
        model = dynamics.model
        self.name = name
        self.dynamics = dynamics
        self.horizon = horizon
        self.obs_names = obs_names
        self.action_names = model.actuator_name
        self.num_obs = len(obs_names)
        self.num_actions = model.nu
        low, high = model.actuator_range[:, 0], model.actuator_range[:, 1]
        self._unit_range = bool((low == -1).all() and (high == 1).all())
        self._middle = ((low + high) / 2).astype(dynamics.dtype)
        self._half = ((high - low) / 2).astype(dynamics.dtype)

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """Motor commands ``[N, nu]``: an action in [-1, 1] spans each motor's control range."""
        if self._unit_range:
            return (action,)
        half, middle = (from_numpy(values, action) for values in (self._half, self._middle))
        return (action * half + middle,)

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """Nothing is remembered between steps."""
        return task

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """No state ends an episode."""
        return xp.zeros_like(physics.q[:, 0], dtype=xp.bool)
