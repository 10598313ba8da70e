"""Base of tasks on particles: shapes that actions move, noise of the start, and points among the observations."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import Interval, Unit, doc

from diffsim_core import Random, from_numpy
from diffsim_core._nearest import unknown
from diffsim_core.options import Count, NotNegative, Positive
from diffsim_mpm.dynamics import MpmDynamics

Obs = Annotated[Literal["points", "flat"], doc("Points and state apart, for an encoder of points, or in one vector.")]
OBSERVATIONS = get_args(get_args(Obs)[0])
ObserveEvery = Annotated[Count, doc("Of the particles, every so-many-th is observed.")]
Noise = Annotated[NotNegative, doc("Multiplies what is drawn at the start of an episode.")]
YoungsModulus = Annotated[Positive, Unit("Pa"), doc("Young's modulus of the dough.")]
PoissonRatio = Annotated[float, Interval(gt=-1, lt=0.5), doc("Poisson's ratio of the dough.")]
YieldStress = Annotated[Positive, Unit("Pa"), doc("Stress beyond which the dough stays deformed.")]
Friction = Annotated[NotNegative, doc("Friction coefficient.")]


class MpmTask:
    """Base of tasks on one body of particles that joints of a chain work on.

    An observation is ``points``, every ``observe_every``-th particle ``[k, 3]`` [m], and ``state``: the centre of mass
    (3) [m], the joint positions and what the task adds. With ``obs="flat"`` both are one vector, for algorithms without
    an encoder of points. ``action`` moves each joint by ``action_scale`` at 1.

    Args:
        dynamics: the simulator.
        name: name of the task.
        action_scale: change of each joint's position in a step at an action of 1 ``[nq]`` ([m], [rad]).
        start: joint positions at the start of an episode ``[nq]``.
        shift: the body is moved by up to so much along x, y, z at the start; along z only upwards ``[3]`` [m].
        stretch: and is made larger or smaller by up to this part about its centre; it takes that for its rest.
        extra: names of what the task adds to ``state``.
        obs: ``"points"`` or ``"flat"``.
        observe_every: the particles that are seen.
        episode_length: steps in an episode.

    Raises:
        ValueError: an argument makes no sense, or the body can start outside of the grid.
    """

    def __init__(
        self,
        dynamics: MpmDynamics,
        *,
        name: str,
        action_scale: Any,
        start: Any,
        shift: tuple[float, float, float],
        stretch: float,
        extra: tuple[str, ...] = (),
        obs: str = "points",
        observe_every: int = 10,
        episode_length: int = 300,
    ) -> None:
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length!r} must be at least 1 step")
        if obs not in OBSERVATIONS:
            raise ValueError(unknown("obs", obs, OBSERVATIONS))
        if not 1 <= observe_every <= dynamics.model.n // 2:
            raise ValueError(f"observe_every={observe_every!r} must be from 1 to {dynamics.model.n // 2}")
        chain = dynamics.model.shapes
        assert chain is not None, "the task's model has joints"
        self.name = name
        self.dynamics = dynamics
        self.horizon = episode_length
        self.observe_every = observe_every
        self.num_actions = chain.nq
        self.action_names = chain.names
        self._scale = np.broadcast_to(np.asarray(action_scale, dynamics.dtype), (chain.nq,))
        self.control_range = tuple((-scale, scale) for scale in self._scale.tolist())
        """Changes of joint positions ([m], [rad]) in a step."""
        self._start = np.asarray(start, dtype=np.float64)
        self._check_start()
        self._x = dynamics.model.particles
        self._centre = self._x.mean(axis=0)
        self._shift, self._stretch = np.array(shift), stretch
        self._check_reach()
        points = -(-dynamics.model.n // observe_every)
        axes = ("x", "y", "z")
        state = (*(f"mean {a} [m]" for a in axes), *chain.names, *extra)
        self.num_obs = 3 * points + len(state)
        self.obs_shapes = {"points": (points, 3), "state": (len(state),)} if obs == "points" else {}
        seen = [f"point{k} {a} [m]" for k in range(points) for a in axes]
        self.obs_names = () if self.obs_shapes else (*state, *seen)

    def initial(self, xp: Any, random: Random) -> tuple[Any, Any]:
        """The body at rest and undeformed, moved and stretched by what is drawn; joints at their start."""
        rest = self.dynamics.rest(1)
        state = {
            spec.name: random.constant(array[0]) for spec, array in zip(self.dynamics.state_spec, rest, strict=True)
        }
        drawn = random.uniform(0, (4,), -1.0, 1.0)
        up = 0.5 * (drawn[:, 2:3] + 1)
        shift = xp.concat([drawn[:, :2], up], axis=1) * random.constant(self._shift)
        larger = 1 + self._stretch * drawn[:, 3]
        away = random.constant(self._x - self._centre) * larger[:, None, None]
        state["x"] = away + (random.constant(self._centre) + shift)[:, None, :]
        state["q"] = random.constant(self._start)
        physics = self.dynamics.state_type(**state)
        return physics, self.remembered(xp, random, physics)

    def remembered(self, xp: Any, random: Random, physics: Any) -> Any:
        """What the task remembers from the start of an episode."""
        return ()

    def control(self, xp: Any, action: Any) -> tuple[Any, ...]:
        """Changes of joint positions ([m], [rad])."""
        return (action * from_numpy(self._scale, action),)

    def advance(self, xp: Any, action: Any, task: Any) -> Any:
        """What is remembered stays during an episode."""
        return task

    def added(self, xp: Any, physics: Any, task: Any) -> tuple[Any, ...]:
        """What the task adds to ``state``."""
        return ()

    def observe(self, xp: Any, physics: Any, task: Any) -> Any:
        """Points and ``state``, or both as one vector."""
        points = physics.x[:, :: self.observe_every]
        state = xp.concat([xp.mean(physics.x, axis=1), physics.q, *self.added(xp, physics, task)], axis=1)
        if self.obs_shapes:
            return {"points": points, "state": state}
        return xp.concat([state, xp.reshape(points, (points.shape[0], -1))], axis=1)

    def terminated(self, xp: Any, physics: Any, task: Any) -> Any:
        """No state ends an episode."""
        return xp.zeros_like(physics.x[:, 0, 0]) > 0

    def _check_start(self) -> None:
        limits = self.dynamics.model.shapes.limits  # pyright: ignore[reportOptionalMemberAccess]
        wrong = (self._start < limits[:, 0]) | (self._start > limits[:, 1])
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"joint {self.action_names[at]!r} starts at {self._start[at]:g}, outside of its limits "
                f"{limits[at].tolist()}"
            )

    def _check_reach(self) -> None:
        """Raise unless the body is inside the grid wherever an episode can start."""
        from diffsim_mpm._check_model import check_positions

        away = (self._x - self._centre) * (1 + self._stretch)
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [0, 1])).reshape(3, -1).T
        check_positions(self.dynamics.model, self._centre + away + (corners * self._shift)[:, None])


def filled(count: int, inside: Any, low: Any, high: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """``count`` points ``[count, 3]`` spread evenly over a part of a box, always the same ones.

    They are those of an additive recurrence with the powers of the plastic number's cousin in three dimensions
    (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences").

    Args:
        count: how many.
        inside: ``points [k, 3] -> [k]`` bool: which are in the part.
        low: lowest corner of the box ``[3]``.
        high: highest corner of the box ``[3]``.
    """
    root = 1.2207440846057596  # of x^4 = x + 1
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    found, first = np.zeros((0, 3)), 1
    while len(found) < count:
        k = np.arange(first, first + 4 * count)[:, None]
        points = low + (high - low) * ((0.5 + k / root ** np.arange(1, 4)) % 1.0)
        found = np.concatenate([found, points[inside(points)]])
        first += 4 * count
    return found[:count]


def lattice(centre: Any, size: Any, count: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Particles ``[n, 3]`` in the middles of the equal parts of a box, ``count`` along each of its sides.

    They come in a mixed order, always the same one, so that every tenth of them are everywhere in the box.
    """
    axes = [c + s * ((np.arange(n) + 0.5) / n - 0.5) for c, s, n in zip(centre, size, count, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.random.default_rng(0).permutation(len(points))]
