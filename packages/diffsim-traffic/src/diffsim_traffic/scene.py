"""``Scene``: a recording of the vehicles of one world, to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core import to_numpy
from diffsim_core.viewer import Footage
from diffsim_traffic.model import TrafficModel

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A recording; vehicles are in the order of the state, controlled ones first."""

    model: TrafficModel
    dt: float
    """Time between rows [s]."""
    x: Numbers
    """``[T, V]`` [m]"""
    v: Numbers
    """``[T, V]`` [m/s]"""
    y: Numbers
    """``[T, C]`` [m]"""
    psi: Numbers
    """``[T, C]`` [rad]"""

    def __post_init__(self) -> None:
        model, rows = self.model, len(self.x)
        c, v = model.num_controlled, model.num_vehicles
        if rows < 2:
            raise ValueError(f"x has {rows} rows; a scene needs at least 2")
        for name, columns in (("x", v), ("v", v), ("y", c), ("psi", c)):
            if getattr(self, name).shape != (rows, columns):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; expected {(rows, columns)}")

    @property
    def times(self) -> Numbers:
        """``[T]`` [s]"""
        return np.arange(len(self.x)) * self.dt

    def lateral(self) -> Numbers:
        """Lateral positions of all vehicles, ``[T, V]`` [m]."""
        lanes = self.model.lane_of_driver * self.model.road.lane_width
        return np.concatenate([self.y, np.broadcast_to(lanes, (len(self.x), len(lanes)))], axis=1)

    def lanes(self) -> Numbers:
        """Lanes of all vehicles, ``[T, V]``, -1 off the road."""
        road = self.model.road
        lane = np.floor(self.lateral() / road.lane_width + 0.5).astype(int)
        return np.where((lane >= 0) & (lane < road.num_lanes), lane, -1)


def record_scene(
    env: Any, policy: Callable[[Any], Any], num_steps: int | None = None, *, world: int = 0, seed: int = 0
) -> Scene:
    """Run a policy, and record one world until its episode ends.

    Args:
        env: an environment of a traffic task.
        policy: ``policy(obs [N, no]) -> action [N, na]``.
        num_steps: largest number of steps; by default an episode.
        world: index of the recorded world.
        seed: seed of ``reset``.

    Raises:
        ValueError: the environment has another simulator, or a number is out of range.
    """
    dynamics = getattr(getattr(env, "task", None), "dynamics", None)
    model = getattr(dynamics, "model", None)
    if not isinstance(model, TrafficModel):
        raise ValueError(f"env {env.spec.name!r} is not a traffic task; make one, for instance 'pace_car_4'")
    if not 0 <= world < env.num_envs:
        raise ValueError(f"world={world!r} must be from 0 to {env.num_envs - 1}")
    steps = env.spec.horizon if num_steps is None else num_steps
    if steps < 1:
        raise ValueError(f"num_steps={num_steps!r} must be at least 1")
    state, obs = env.reset(seed)
    rows = [_row(state, world)]
    for _ in range(steps):
        state, transition = env.step(state, policy(obs))
        obs = transition.obs
        if int(state.episode[world]):
            break
        rows.append(_row(state, world))
    x, v, y, psi = (np.stack(column) for column in zip(*rows, strict=True))
    return Scene(model=model, dt=env.spec.dt, x=x, v=v, y=y, psi=psi)


def scenes_of(model: TrafficModel, footage: Footage, *, dt: float) -> dict[str, Scene]:
    """Every episode of every world of a recording, by name, except episodes of a single frame.

    Raises:
        ValueError: no episode has two frames.
    """
    scenes: dict[str, Scene] = {}
    for world in range(footage.begins.shape[1]):
        starts = np.flatnonzero(footage.begins[:, world]).tolist()
        ends = [*starts[1:], len(footage.begins)]
        for episode, (first, last) in enumerate(zip(starts, ends, strict=True)):
            if last - first > 1:
                x, v, y, psi = (np.asarray(part[first:last, world], dtype=np.float64) for part in footage.physics[:4])
                name = f"world {world}" + (f", episode {episode}" if len(starts) > 1 else "")
                scenes[name] = Scene(model=model, dt=dt, x=x, v=v, y=y, psi=psi)
    if not scenes:
        raise ValueError("no episode has two frames; record more steps")
    return scenes


def _row(state: Any, world: int) -> tuple[Numbers, ...]:
    return tuple(to_numpy(array)[world].astype(np.float64) for array in state.physics[:4])
