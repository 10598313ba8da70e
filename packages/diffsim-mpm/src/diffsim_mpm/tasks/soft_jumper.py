"""SoftJumper (Xing et al. 2024): a soft table that learns to jump forward by making its tetrahedra swell and shrink."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import doc

from diffsim_core import Random
from diffsim_core.options import EpisodeLength, RandomStart, Substeps, Threads
from diffsim_mpm.tet.dynamics import TetConstants, TetDynamics, TetState
from diffsim_mpm.tet.meshing import table
from diffsim_mpm.tet.model import TetModel

Obs = Annotated[
    Literal["points", "flat", "features"],
    doc("Features and points apart, for an encoder of points; all in one vector; or features alone."),
]
OBSERVATIONS = get_args(get_args(Obs)[0])
Memory = Annotated[
    Literal["fast", "low"],
    doc("What the backward pass holds: the states of all sub-steps, or fewer at the price of one more simulation."),
]
ACTIVATION = 0.3
"""Activation at an action of 1."""
_SCALE = 0.1
_HEIGHT, _SPEED = 2, 3
"""Columns of an observation: height of the centre, and its speed along x, both times ``_SCALE``."""
_SHIFT = 0.8
_LIFT = (0.2, 0.6)
_STRETCH = 0.1


@dataclass(frozen=True, kw_only=True)
class Table:
    """Size of a table, see :func:`diffsim_mpm.tet.table`."""

    cells: int
    top: int
    legs: int
    substeps: int
    """Sub-steps of a control step."""


TABLES = {
    "soft_jumper": Table(cells=5, top=2, legs=6, substeps=80),
    "soft_jumper_small": Table(cells=3, top=1, legs=3, substeps=32),
}
"""The paper's size: 204 nodes, 444 tetrahedra, 222 actions; and 80 nodes, 126 tetrahedra, 63 actions."""


class SoftJumper:
    """A table of tetrahedra, two of which share an action: the activation ``0.3 a``.

    With ``c`` the mean position of the nodes, an observation is

    - ``"points"``: a mapping of ``features``, ``(0.1 c, 0.1 dc/dt, last action)``, and ``points [n, 3]``, 0.1 times the
      positions of the nodes. It is what the networks of the paper see.
    - ``"features"``: those features alone, ``6 + na`` numbers.
    - ``"flat"``: the features, then the positions of the nodes relative to ``c``, then their velocities, all times 0.1:
      ``6 + na + 6 n`` numbers.

    The reward is ``dc_x/dt + 3 (c_z - c_z at the start) - 0.001 |a|^2``. An episode begins with the table at rest,
    moved by up to 0.8 m along x and y, 0.2 to 0.6 m above the ground, and then stretched or squeezed about the origin
    by up to a tenth, which strains it. Nothing terminates an episode.

    Args:
        dynamics: the simulator.
        name: name of the task.
        obs: ``"points"``, ``"flat"`` or ``"features"``.
        random_start: whether the start is drawn; otherwise it is 0.2 m above the ground, unstrained.
        episode_length: steps in an episode.

    Raises:
        ValueError: for an unknown ``obs``, or an episode without a step.
    """

    units = {"length": "m", "time": "s", "mass": "kg"}  # noqa: RUF012
    constants_vary = False

    def __init__(
        self, dynamics: TetDynamics, *, name: str, obs: str, random_start: bool = True, episode_length: int = 300
    ) -> None:
        if obs not in OBSERVATIONS:
            raise ValueError(f"obs={obs!r} must be one of {', '.join(OBSERVATIONS)}")
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length!r} must be at least 1 step")
        model = dynamics.model
        n, actions = model.num_nodes, model.num_controls
        self.name = name
        self.dynamics = dynamics
        self.obs = obs
        self.random_start = random_start
        self.horizon = episode_length
        self.num_actions = actions
        self.control_range = ((-ACTIVATION, ACTIVATION),) * actions
        self.action_names = tuple(f"tetrahedra {2 * i} and {2 * i + 1}" for i in range(actions))
        features = [f"0.1 centre {c} [m]" for c in "xyz"] + [f"0.1 velocity {c} [m/s]" for c in "xyz"]
        features += [f"last action {i}" for i in range(actions)]
        self.num_obs = len(features) + {"points": 3, "flat": 6, "features": 0}[obs] * n
        self.obs_shapes = {"features": (len(features),), "points": (n, 3)} if obs == "points" else {}
        self.obs_names: tuple[str, ...] = ()
        if obs != "points":
            nodes = [f"node {i} {c}" for i in range(n) for c in "xyz"] if obs == "flat" else []
            more = [f"0.1 {node} from the centre [m]" for node in nodes] + [f"0.1 {node} [m/s]" for node in nodes]
            self.obs_names = (*features, *more)
        size = model.mesh.x.max(axis=0)
        self._x = (model.mesh.x - [size[0] / 2, size[1] / 2, 0]).astype(dynamics.dtype)

    def initial(self, xp: Any, random: Random) -> tuple[Any, Any]:
        """``(physics, task)``; the task remembers the last action and the height of the centre at the start."""
        x = random.constant(self._x)
        low, high = _LIFT
        if self.random_start:
            drawn = random.uniform(0, (4,), -1.0, 1.0)
            lift = low + (drawn[:, 2:3] + 1) * ((high - low) / 2)
            moved = xp.concat([drawn[:, :2] * _SHIFT, lift], axis=1)
            x = (x + moved[:, None, :]) * (1 + _STRETCH * drawn[:, 3:])[:, None, :]
        else:
            x = x + random.constant([[0.0, 0.0, low]])
        action = random.constant([0.0] * self.num_actions)
        return TetState(x, xp.zeros_like(x)), (action, xp.mean(x[:, :, 2], axis=1))

    def constants(self, xp: Any, random: Random) -> TetConstants:
        """The model's own stiffnesses and density in every world."""
        one = random.constant(1.0)
        return TetConstants(one, one, one)

    def control(self, xp: Any, action: Any) -> tuple[Any, ...]:
        """Activations."""
        return (ACTIVATION * action,)

    def advance(self, xp: Any, action: Any, task: Any) -> Any:
        """Remember the action."""
        return action, task[1]

    def observe(self, xp: Any, physics: Any, task: Any) -> Any:
        """See the class."""
        x, v = physics.x * _SCALE, physics.v * _SCALE
        c, action = xp.mean(x, axis=1), task[0]
        features = xp.concat([c, xp.mean(v, axis=1), action], axis=1)
        if self.obs == "features":
            return features
        if self.obs == "points":
            return {"features": features, "points": x}
        n = features.shape[0]
        around = x - c[:, None, :]
        return xp.concat([features, xp.reshape(around, (n, -1)), xp.reshape(v, (n, -1))], axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """Speed forward, three times the height gained since the start, less a thousandth of the squared action."""
        features = next_obs["features"] if self.obs == "points" else next_obs
        gained = features[:, _HEIGHT] * (1 / _SCALE) - task[1]
        return features[:, _SPEED] * (1 / _SCALE) + 3.0 * gained - 0.001 * xp.sum(action * action, axis=1)

    def terminated(self, xp: Any, physics: Any, task: Any) -> Any:
        """Never."""
        return xp.zeros_like(task[1], dtype=xp.bool)

    def metrics(
        self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any
    ) -> dict[str, Any]:
        """Speed of the centre along x [m/s], and the height that it gained since the start [m]."""
        features = next_obs["features"] if self.obs == "points" else next_obs
        return {
            "speed": features[:, _SPEED] * (1 / _SCALE),
            "height_gained": features[:, _HEIGHT] * (1 / _SCALE) - task[1],
        }


def make_soft_jumper(
    name: str,
    /,
    *,
    num_envs: int,
    device: str,
    dtype: str,
    obs: Obs = "points",
    substeps: Substeps | None = None,
    random_start: RandomStart = True,
    episode_length: EpisodeLength = 300,
    threads: Threads = None,
    memory: Memory = "fast",
) -> SoftJumper:
    """The table of that name in :data:`TABLES`, see :class:`SoftJumper`, :class:`TetModel` and :class:`TetDynamics`.

    ``substeps`` replaces the table's own; fewer are faster, and refused where they would be unstable.
    """
    size = TABLES[name]
    mesh = table(cells=size.cells, top=size.top, legs=size.legs)
    model = TetModel(mesh=mesh, actuators=np.arange(mesh.num_tets) // 2)
    count = size.substeps if substeps is None else substeps
    options: dict[str, Any] = {"dtype": dtype, "device": device, "threads": threads, "memory": memory}
    dynamics = TetDynamics(model, dt=1 / 60, substeps=count, **options)
    return SoftJumper(dynamics, name=name, obs=obs, random_start=random_start, episode_length=episode_length)


make_task: Callable[..., SoftJumper] = functools.partial(make_soft_jumper, "soft_jumper")
make_small: Callable[..., SoftJumper] = functools.partial(make_soft_jumper, "soft_jumper_small", obs="flat")
