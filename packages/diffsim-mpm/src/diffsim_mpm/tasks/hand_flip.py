"""HandFlip: a hand folds a disc of dough in half in its palm (Xing et al. 2024, after DexDeform, Li et al. 2023)."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Unit, doc

from diffsim_core import Random, stop_gradient
from diffsim_core.options import Count, EpisodeLength, Finite, NotNegative, Positive, Threads
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.tasks._mpm import (
    Friction,
    MpmTask,
    Noise,
    Obs,
    ObserveEvery,
    PoissonRatio,
    YieldStress,
    YoungsModulus,
    filled,
)
from diffsim_mpm.tasks._shadow_hand import KNUCKLE, WRIST, shadow_hand

CENTRE = (0.5, 0.4, 0.38)
"""Of the dough [m]."""
RADIUS, HALF_HEIGHT = 0.1, 0.003
"""Of the dough [m]."""
SCALE = 2.5
"""Of the hand: the grid is a cube of 1 m."""
ACTION_SPEED = 0.33 * 40
"""Of a joint at an action of 1 [rad/s]."""
DROPPED = 0.2
"""Height of the dough's middle below which it has fallen off the hand, even off one that is turned down [m]."""
_VOLUME = (1 / 128) ** 2
"""Of a particle, the same for every number of them [m^3]; of the released code. Only the density counts."""
_BELOW = 0.03
"""From the axes of the fingers to the lower side of the dough [m]."""


class HandFlip(MpmTask):
    """A flat disc of dough lies on an open hand, which is to fold it along a line across the palm.

    ``pair_every``: of the particles of a half, those whose distance from their mirror image is rewarded.
    ``drop_ends``: an episode ends where the dough has fallen off the hand; off in the released code.

    The reward is ``clip((d0 - d) / d0, -1, 1)`` with d the mean distance between particles of one half and their mirror
    images in the other half, and d0 that at the start.
    """

    def __init__(self, dynamics: MpmDynamics, *, pair_every: int = 10, drop_ends: bool = False, **options: Any) -> None:
        super().__init__(dynamics, **options)
        self.pair_every = pair_every
        self.drop_ends = drop_ends

    def remembered(self, xp: Any, random: Random, physics: Any) -> Any:
        """``(d0 [N, 1],)``"""
        return (stop_gradient(self.halves_apart(xp, physics))[:, None],)

    def halves_apart(self, xp: Any, physics: Any) -> Any:
        """Mean distance of particles that mirror each other at the start ``[N]`` [m]."""
        half = physics.x.shape[1] // 2
        apart = physics.x[:, : half : self.pair_every] - physics.x[:, half :: self.pair_every]
        return xp.mean(xp.sqrt(xp.sum(apart * apart, axis=2) + 1e-12), axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """Near 1 where the halves lie on each other, 0 as at the start."""
        start = task[0][:, 0]
        return xp.clip((start - self.halves_apart(xp, next_physics)) / start, -1.0, 1.0)

    def terminated(self, xp: Any, physics: Any, task: Any) -> Any:
        """Where the dough has fallen off the hand, if that ends an episode."""
        if not self.drop_ends:
            return super().terminated(xp, physics, task)
        return xp.mean(physics.x[:, :, 2], axis=1) < DROPPED


def dough(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Particles of the disc ``[count, 3]`` [m]: one half, and in the same order its mirror image along y."""
    size = np.array([RADIUS, RADIUS, HALF_HEIGHT])

    def in_half(p: Any) -> Any:
        return np.hypot(p[:, 0], p[:, 1]) < RADIUS

    half = filled(count // 2, in_half, [-RADIUS, 0.0, -HALF_HEIGHT], size)
    return np.concatenate([half, half * [1, -1, 1]]) + CENTRE


def make_hand_flip(
    name: str,
    particles: int,
    cells: int,
    substeps: int,
    /,
    *,
    num_envs: int,
    device: str,
    dtype: str,
    E: YoungsModulus = 4000.0,
    nu: PoissonRatio = 0.2,
    yield_stress: YieldStress = 130.0,
    hand_friction: Friction = 0.5,
    fold: Annotated[Finite, Unit("m"), doc("From the middle finger's knuckle to the dough's middle, outwards.")] = 0.08,
    noise: Noise = 1.0,
    obs: Obs = "points",
    observe_every: ObserveEvery = 10,
    pair_every: Annotated[Count, doc("Of a half's particles, every so-many-th is rewarded.")] = 10,
    dt: Annotated[Positive, Unit("s"), doc("Control step.")] = 0.002,
    wrist_speed: Annotated[NotNegative, doc("Of the wrist's two joints, as a part of all others'.")] = 1.0,
    drop_ends: Annotated[bool, doc("An episode ends where the dough has fallen off the hand.")] = False,
    episode_length: EpisodeLength = 300,
    threads: Threads = None,
) -> HandFlip:
    """The task with so many particles, cells along each side and sub-steps of a control step; see :class:`HandFlip`.

    ``fold`` is how far the dough's middle lies beyond the middle finger's knuckle [m]; ``noise`` multiplies what is
    drawn at the start. ``dt`` is a control step [s]; ``wrist_speed`` is that of the wrist's two joints at an action of
    1, as a part of all others' 13.2 rad/s.
    """
    if particles < 40 or particles % 2:
        raise ValueError(f"particles={particles!r} must be even and at least 40: half of them mirror the others")
    if not 1 <= pair_every <= particles // 2:
        raise ValueError(f"pair_every={pair_every!r} must be from 1 to {particles // 2}, the particles of a half")
    x, y, z = CENTRE
    wrist = (x, y - fold - SCALE * (WRIST + KNUCKLE), z - HALF_HEIGHT - _BELOW)
    # palm up: fingers along the world's y, the side of the thumb along x
    hand = shadow_hand(wrist, (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0), scale=SCALE, friction=hand_friction)
    body = MpmBody(
        name="dough",
        particles=dough(particles),
        volume=_VOLUME,
        density=1.0,
        material="von_mises",
        parameters={"E": E, "nu": nu, "yield_stress": yield_stress},
    )
    model = MpmModel(
        name=name,
        bodies=[body],
        cells=(cells, cells, cells),
        dx=1 / cells,
        gravity=(0.0, 0.0, -90.0),
        ground_friction=math.inf,
        shapes=hand,
    )
    dynamics = MpmDynamics(model, dt=dt, substeps=substeps, dtype=dtype, device=device, threads=threads)
    return HandFlip(
        dynamics,
        name=name,
        action_scale=[ACTION_SPEED * dt * (wrist_speed if joint.startswith("WRJ") else 1.0) for joint in hand.names],
        start=np.zeros(hand.nq),
        shift=(0.1 * noise, 0.1 * noise, 0.1 * noise),
        stretch=0.05 * noise,
        obs=obs,
        observe_every=observe_every,
        pair_every=pair_every,
        drop_ends=drop_ends,
        episode_length=episode_length,
    )


make_task = functools.partial(make_hand_flip, "hand_flip", 2500, 48, 40)
# Cells as fine as the large version's: the dough leaks between fingers that are less than two cells thick. The wrist is
# slow: the noise of exploration shakes the dough off a fast one.
make_small = functools.partial(
    make_hand_flip,
    "hand_flip_small",
    500,
    48,
    18,
    noise=0.3,
    obs="flat",
    pair_every=2,
    dt=0.004,
    wrist_speed=0.1,
    drop_ends=True,
    episode_length=150,
)
