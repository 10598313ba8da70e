"""FluidMove: a vessel brings water to a place and spills none (after "Transport" in the code of Xing et al. 2024)."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import numpy as np
from annotated_types import Unit, doc

from diffsim_core import Random
from diffsim_core.options import EpisodeLength, NotNegative, Positive, Threads
from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.shapes import Box
from diffsim_mpm.tasks._mpm import MpmTask, Obs, ObserveEvery, lattice

VESSEL = (0.18, 0.22, 0.16)
"""Inside of the vessel, which is open above [m]."""
START = (0.5, 0.5, 0.3)
"""Middle of the vessel's inside at the start [m]."""
TARGETS = (0.2, 0.2, 0.3)
"""Farthest targets from the start along x, y and, upwards, z [m]."""
FILL = 0.5
"""Part of the vessel that is filled."""
ACTION_SCALE = 0.01
"""Change of the vessel's place along each axis in a step at an action of 1 [m]."""
_SHARPNESS, _EDGE = 200.0, 0.02
"""Particles count as inside up to this far into the walls [m], and less and less from there on [1/m]."""
_FAR = 0.3
"""Distance from the target that costs as much as all the water [m]."""
_TARGET = 1
"""Stream of the targets' random numbers."""


class FluidMove(MpmTask):
    """A vessel half full of water moves along x, y and z towards a target, which is drawn for each episode.

    The reward is the part of the water that is inside of the vessel, less the vessel's distance from the target in
    units of 0.3 m. ``state`` also has the target's place relative to the vessel.
    """

    def remembered(self, xp: Any, random: Random, physics: Any) -> Any:
        """``(target [N, 3],)``: of the vessel's middle [m]."""
        drawn = random.uniform(_TARGET, (3,), -1.0, 1.0)
        towards = xp.concat([drawn[:, :2], 0.5 * (drawn[:, 2:] + 1)], axis=1)
        return (random.constant(START) + towards * random.constant(TARGETS),)

    def added(self, xp: Any, physics: Any, task: Any) -> tuple[Any, ...]:
        """The way to the target ``[N, 3]`` [m]."""
        return (task[0] - physics.q,)

    def markers(self, xp: Any, physics: Any, task: Any) -> dict[str, Any]:
        """The target, where a viewer draws a ball."""
        return {"target": task[0]}

    def inside(self, xp: Any, physics: Any) -> Any:
        """Part of the particles inside of the vessel ``[N]``; smooth at its edges."""
        away = xp.abs(physics.x - physics.q[:, None, :])
        within = 1.0
        for axis, size in enumerate(VESSEL):
            within = within / (1 + xp.exp(xp.clip(_SHARPNESS * (away[:, :, axis] - 0.5 * size - _EDGE), None, 30.0)))
        return xp.mean(within, axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """1 with all the water at the target."""
        (away,) = self.added(xp, next_physics, task)
        return self.inside(xp, next_physics) - xp.sqrt(xp.sum(away * away, axis=1) + 1e-12) / _FAR

    def metrics(
        self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any
    ) -> dict[str, Any]:
        """Distance from the target [m] and the part of the water that is inside."""
        (away,) = self.added(xp, next_physics, task)
        distance = xp.sqrt(xp.sum(away * away, axis=1) + 1e-12)
        return {"distance": distance, "inside": self.inside(xp, next_physics)}


def vessel(wall: float) -> KinematicChain:
    """Three slides, whose positions are the place of the vessel's middle, and five slabs so thick [m].

    A slab pushes nodes out at its nearest face, so half of its thickness must reach over the nodes next to the water.
    The slabs overlap at the edges, where each would otherwise push along the other.
    """
    names = ("vessel x", "vessel y", "vessel z")
    axes, parents = ((1, 0, 0), (0, 1, 0), (0, 0, 1)), (None, *names)
    joints = [
        Joint(name=name, kind="slide", axis=axis, parent=parent, limits=limits)
        for name, axis, parent, limits in zip(
            names, axes, parents, ((0.25, 0.75), (0.25, 0.75), (0.2, 0.7)), strict=False
        )
    ]
    x, y, z = (0.5 * size for size in VESSEL)
    t = 0.5 * wall
    slabs = {
        "floor": ((0, 0, -z - t), (x + wall, y + wall, t)),
        "left": ((-x - t, 0, -t), (t, y + wall, z + t)),
        "right": ((x + t, 0, -t), (t, y + wall, z + t)),
        "front": ((0, -y - t, -t), (x + wall, t, z + t)),
        "back": ((0, y + t, -t), (x + wall, t, z + t)),
    }
    shapes = [
        Box(name=name, joint=names[-1], pos=pos, half_sizes=half, friction=0.0, visible=name == "floor")
        for name, (pos, half) in slabs.items()
    ]
    return KinematicChain(tuple(joints), tuple(shapes))


def make_fluid_move(
    name: str,
    spacing: tuple[int, int, int],
    cells: int,
    substeps: int,
    wall: float,
    /,
    *,
    num_envs: int,
    device: str,
    dtype: str,
    bulk_modulus: Annotated[Positive, Unit("Pa"), doc("Bulk modulus of the water.")] = 5e4,
    viscosity: Annotated[NotNegative, Unit("Pa s"), doc("Dynamic viscosity of the water.")] = 0.0,
    obs: Obs = "points",
    observe_every: ObserveEvery = 10,
    episode_length: EpisodeLength = 300,
    threads: Threads = None,
) -> FluidMove:
    """The task with so many particles along each side, cells, sub-steps of its 20 ms and thickness of walls [m].

    See :class:`FluidMove`.
    """
    margin = 0.004  # from the walls, whose soft zone it is
    size = np.array(VESSEL) - 2 * margin
    size[2] = FILL * VESSEL[2]
    low = np.array(START) - 0.5 * np.array(VESSEL) + margin
    body = MpmBody(
        name="water",
        particles=lattice(low + 0.5 * size, size, spacing),
        volume=float(np.prod(size)) / float(np.prod(spacing)),
        density=1000.0,
        material="fluid",
        parameters={"bulk_modulus": bulk_modulus, "viscosity": viscosity},
    )
    model = MpmModel(
        name=name,
        bodies=[body],
        cells=(cells, cells, cells),
        dx=1 / cells,
        gravity=(0.0, 0.0, -9.8),
        wall=3 if cells >= 40 else 2,
        ground_friction=0.0,
        shapes=vessel(wall),
    )
    dynamics = MpmDynamics(model, dt=0.02, substeps=substeps, dtype=dtype, device=device, threads=threads)
    return FluidMove(
        dynamics,
        name=name,
        action_scale=ACTION_SCALE,
        start=START,
        shift=(0.0, 0.0, 0.0),
        stretch=0.0,
        extra=tuple(f"target - vessel {axis} [m]" for axis in "xyz"),
        obs=obs,
        observe_every=observe_every,
        episode_length=episode_length,
    )


make_task = functools.partial(make_fluid_move, "fluid_move", (16, 20, 8), 48, 40, 0.05)
make_small = functools.partial(make_fluid_move, "fluid_move_small", (9, 11, 5), 32, 20, 0.08, obs="flat")
