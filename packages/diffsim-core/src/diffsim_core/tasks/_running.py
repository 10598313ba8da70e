"""What the robots that should run along x share: options, the end of an episode, and two conventions of reward."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from diffsim_core._protocol import Array, PyTree
from diffsim_core._registry import unknown
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.tasks._rigid import RigidTask

REWARDS = ("paper", "gymnasium")


class GymnasiumReward(NamedTuple):
    """``healthy + forward (x' - x) / dt - control |a|^2``: what Gymnasium's v5 MuJoCo tasks pay, without contact cost.

    The healthy reward is paid in every step, the last included, as an episode ends where the robot is not healthy.
    """

    healthy: float
    forward: float
    control: float


class RunningTask(RigidTask):
    """A robot whose first coordinate is x, the way it should run.

    Args:
        dynamics: The simulator.
        episode_length: Control steps in an episode.
        obs_names: One name per observation entry, with its unit.
        random_start: Add the released code's noise to the initial state.
        early_termination: End an episode where the robot has fallen, if it can.
        action_penalty: Weight of the squared action in the paper's reward; ``None`` for the robot's own.
        reward: ``"paper"``, or ``"gymnasium"`` for the field's other convention.
    """

    height_coordinate: ClassVar[int]
    """Which coordinate is the torso's height."""
    fallen_below: ClassVar[float | None] = None
    """Height coordinate at which an episode ends [m]; ``None`` if nothing ends it."""
    penalty: ClassVar[float]
    """Weight of the squared action in the released code."""
    gymnasium: ClassVar[GymnasiumReward]

    def __init__(
        self,
        dynamics: RigidDynamics,
        *,
        episode_length: int,
        obs_names: tuple[str, ...],
        random_start: bool,
        early_termination: bool,
        action_penalty: float | None,
        reward: str,
    ) -> None:
        super().__init__(dynamics, episode_length=episode_length, obs_names=obs_names)
        if reward not in REWARDS:
            raise ValueError(unknown("reward", reward, REWARDS))
        self.random_start = random_start
        self.early_termination = early_termination
        self.action_penalty = self.penalty if action_penalty is None else action_penalty
        self.convention = reward

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: Array, task: PyTree
    ) -> Array:
        """The reward of the chosen convention, ``[N]``."""
        if self.convention == "gymnasium":
            healthy, forward, weight = self.gymnasium
            paid = healthy + (forward / self.dynamics.dt) * (next_physics.q[:, 0] - physics.q[:, 0])
        else:
            paid, weight = self.paper_reward(xp, next_obs), self.action_penalty
        return paid - weight * xp.sum(action * action, axis=1) if weight else paid

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """The paper's reward before the action's price, ``[N]``."""
        raise TypeError(f"{type(self).__name__} must define paper_reward")

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """The torso is too low."""
        if self.fallen_below is None or not self.early_termination:
            return super().terminated(xp, physics, task)
        return physics.q[:, self.height_coordinate] < self.fallen_below


def height_reward(xp: Any, above: Array, cap: float, slope: float) -> Array:
    """``slope d`` above zero and ``-200 d^2`` below it, with ``d = clip(above, -1, cap)`` (SHAC paper, Eq. 16, 21).

    Args:
        xp: Array namespace.
        above: Height over the margin above the termination height [m], ``[N]``.
        cap: Largest height that is paid for [m].
        slope: Reward per metre.
    """
    d = xp.clip(above, -1.0, cap)
    return xp.where(d < 0, -200.0 * d * d, slope * d)
