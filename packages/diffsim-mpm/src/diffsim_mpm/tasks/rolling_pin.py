"""RollingPin: a pin flattens dough (PlasticineLab, Huang et al. 2021, as in the code of Xing et al. 2024)."""

from __future__ import annotations

import functools
import math
from typing import Any

from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.shapes import Capsule
from diffsim_mpm.tasks._mpm import MpmTask, lattice, not_negative

SIZE = (0.3, 0.3, 0.125)
"""Of the dough [m]."""
CENTRE, ABOVE = (0.5, 0.5), 0.7 * SIZE[2]
"""Of the dough, and its height above the ground [m]."""
PIN_RADIUS, PIN_HALF_LENGTH = 0.03, 0.15
"""Of PlasticineLab's pin [m]."""
PIN_ABOVE = 0.2075
"""Height of the pin's axis above the ground at the start [m]."""
ACTION_SCALE = (0.01, 0.01, math.pi / 60)
"""Changes of the pin's place along x and z [m] and of its heading [rad] in a step at an action of 1."""
FLAT = 1 / 3
"""Height, in units of the dough's first one, from which the reward doubles."""


class RollingPin(MpmTask):
    """A pin moves along x and z and turns about z; it is to press the dough flat, everywhere to the same height.

    With h the heights of particles above the ground and ``d = mean(h) / 0.125 m``, the reward is ``1 / (1 + d)^2``,
    twice that where d is at most a third, less the variance of h [m^2].
    """

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """Higher the flatter the dough is."""
        model = self.dynamics.model
        h = next_physics.x[:, :, 2] - model.wall * model.dx
        mean = xp.mean(h, axis=1)
        d = mean / SIZE[2]
        flat = (1 / (1 + d)) ** 2
        spread = xp.mean((h - mean[:, None]) ** 2, axis=1)
        return xp.where(d <= FLAT, 2 * flat, flat) - spread


def make_rolling_pin(
    spacing: tuple[int, int, int],
    cells: int,
    substeps: int,
    *,
    num_envs: int,
    device: str,
    dtype: str,
    name: str = "rolling_pin",
    E: float = 5000.0,
    nu: float = 0.2,
    yield_stress: float = 50.0,
    pin_friction: float = 0.9,
    noise: float = 1.0,
    obs: str = "points",
    observe_every: int = 10,
    episode_length: int = 300,
    threads: int | None = None,
) -> RollingPin:
    """The task with so many particles along each side, cells and sub-steps of its 2 ms; see :class:`RollingPin`.

    ``noise`` multiplies what is drawn at the start.
    """
    not_negative(noise=noise)
    wall = 3 if cells >= 40 else 2
    ground = wall / cells
    body = MpmBody(
        name="dough",
        particles=lattice((*CENTRE, ground + ABOVE), SIZE, spacing),
        volume=math.prod(SIZE) / math.prod(spacing),
        density=1.0,
        material="von_mises",
        parameters={"E": E, "nu": nu, "yield_stress": yield_stress},
    )
    joints = (
        Joint(name="pin x", kind="slide", axis=(1, 0, 0), limits=(0.1, 0.9)),
        Joint(name="pin z", kind="slide", axis=(0, 0, 1), parent="pin x", limits=(ground + PIN_RADIUS, 0.6)),
        Joint(name="pin turn", kind="hinge", axis=(0, 0, 1), parent="pin z", pos=(0, CENTRE[1], 0)),
    )
    lying = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)  # its axis along y
    size: dict[str, Any] = {"radius": PIN_RADIUS, "half_length": PIN_HALF_LENGTH}
    pin = Capsule(name="pin", joint="pin turn", quat=lying, friction=pin_friction, **size)
    model = MpmModel(
        name=name,
        bodies=[body],
        cells=(cells, cells, cells),
        dx=1 / cells,
        gravity=(0.0, 0.0, -90.0),
        wall=wall,
        ground_friction=math.inf,
        shapes=KinematicChain(joints, (pin,)),
    )
    dynamics = MpmDynamics(model, dt=0.002, substeps=substeps, dtype=dtype, device=device, threads=threads)
    return RollingPin(
        dynamics,
        name=name,
        action_scale=ACTION_SCALE,
        start=(CENTRE[0], ground + PIN_ABOVE, 0.0),
        shift=(0.1 * noise, 0.1 * noise, 0.05 * noise),
        stretch=0.1 * noise,
        obs=obs,
        observe_every=observe_every,
        episode_length=episode_length,
    )


make_task = functools.partial(make_rolling_pin, (18, 18, 8), 48, 40)
make_small = functools.partial(make_rolling_pin, (10, 10, 5), 24, 20, name="rolling_pin_small", obs="flat")
