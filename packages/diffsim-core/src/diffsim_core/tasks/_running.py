"""``RunningTask``: options, termination and two reward conventions of all robots that run along x."""

from __future__ import annotations

import abc
import math
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from annotated_types import doc

from diffsim_core._nearest import unknown
from diffsim_core._protocol import Array, PyTree
from diffsim_core.options import EpisodeLength, NotNegative, RandomStart
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel
from diffsim_core.tasks._rigid import RigidTask

Reward = Annotated[Literal["paper", "gymnasium"], doc("Reward of the SHAC paper, or of Gymnasium's v5 MuJoCo tasks.")]
EarlyTermination = Annotated[bool, doc("End an episode when the robot has fallen, if it can fall.")]
ActionPenalty = Annotated[
    NotNegative | None, doc("Weight of the action in the reward, squared but for muscles; none for the reward's own.")
]
REWARDS = get_args(get_args(Reward)[0])


class GymnasiumReward(NamedTuple):
    """Reward weights of Gymnasium's v5 MuJoCo tasks: ``healthy + forward (x' - x) / dt - control |a|^2``."""

    healthy: float
    """Reward of a step that does not end in a fall."""
    forward: float
    """Weight of the torso's velocity along x, from its positions before and after the step."""
    control: float
    """Weight of the squared action."""


class RunningTask(RigidTask, abc.ABC):
    """A robot that runs along x, its first coordinate.

    Args:
        dynamics: The simulator.
        episode_length: Control steps in an episode.
        random_start: Add the released code's noise to the initial state.
        early_termination: End an episode when the robot has fallen, if it has a ``fallen_below``.
        action_penalty: Weight of the squared action in the reward; ``None`` for that of the convention.
        reward: ``"paper"`` (SHAC) or ``"gymnasium"`` (Gymnasium's v5 MuJoCo tasks).

    Raises:
        ValueError: for an ``episode_length`` below 1, a negative ``action_penalty`` or an unknown ``reward``.
    """

    height_coordinate: ClassVar[int]
    """Index of the coordinate that is the torso's height."""
    fallen_below: ClassVar[float | None] = None
    """Height coordinate below which an episode ends [m]; ``None`` if no state ends it."""
    penalty: ClassVar[float]
    """Weight of the squared action in the released code."""
    gymnasium: ClassVar[GymnasiumReward]

    def __init__(
        self,
        dynamics: RigidDynamics,
        *,
        episode_length: EpisodeLength = 1000,
        random_start: RandomStart = True,
        early_termination: EarlyTermination = True,
        action_penalty: ActionPenalty = None,
        reward: Reward = "paper",
    ) -> None:
        super().__init__(dynamics, episode_length=episode_length, obs_names=self.observed(dynamics.model))
        if reward not in REWARDS:
            raise ValueError(unknown("reward", reward, REWARDS))
        self.random_start = random_start
        self.early_termination = early_termination
        self.convention = reward
        if action_penalty is None:
            action_penalty = self.penalty if reward == "paper" else self.gymnasium.control
        if not 0 <= action_penalty < math.inf:
            raise ValueError(f"action_penalty={action_penalty!r} must be a number of at least 0")
        self.action_penalty = action_penalty

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: Array, task: PyTree
    ) -> Array:
        """The reward of the chosen convention, ``[N]``."""
        weight = self.action_penalty
        if self.convention == "gymnasium":
            reward = self._gymnasium_reward(xp, physics, next_physics)
        else:
            reward = self.paper_reward(xp, next_obs)
        return reward - weight * self.effort(xp, action) if weight else reward

    def effort(self, xp: Any, action: Array) -> Array:
        """The quantity that the action penalty weights: the squared action, ``[N]``."""
        return xp.sum(action * action, axis=1)

    @abc.abstractmethod
    def observed(self, model: RigidModel) -> tuple[str, ...]:
        """A name with unit for each entry of the observation."""

    @abc.abstractmethod
    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """The paper's reward before the action penalty, ``[N]``."""

    def _gymnasium_reward(self, xp: Any, physics: PyTree, next_physics: PyTree) -> Array:
        healthy, forward, _ = self.gymnasium
        progress = (forward / self.dynamics.dt) * (next_physics.q[:, 0] - physics.q[:, 0])
        if self.fallen_below is None:
            return progress + healthy
        return xp.where(next_physics.q[:, self.height_coordinate] < self.fallen_below, progress, progress + healthy)

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """Whether the torso is too low, ``[N]``."""
        if self.fallen_below is None or not self.early_termination:
            return super().terminated(xp, physics, task)
        return physics.q[:, self.height_coordinate] < self.fallen_below


def height_reward(xp: Any, above: Array, cap: float, slope: float) -> Array:
    """``slope d`` above zero and ``-200 d^2`` below it, with ``d = clip(above, -1, cap)`` (SHAC paper, Eq. 16, 21).

    Args:
        xp: Array namespace.
        above: Height over the margin above the termination height [m], ``[N]``.
        cap: Largest height that is rewarded [m].
        slope: Reward per metre.
    """
    d = xp.clip(above, -1.0, cap)
    return xp.where(d < 0, -200.0 * d * d, slope * d)
