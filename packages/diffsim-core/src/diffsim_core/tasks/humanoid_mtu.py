"""Humanoid MTU (SHAC paper, A.3.6): legs with 152 muscle-tendon units walk along x.

The paper's skeleton and muscles are files of other projects. If you have them, pass ``skeleton`` and ``muscles``.
Otherwise the task uses our own legs, ``models/lower_body.toml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from annotated_types import doc

from diffsim_core._protocol import Array
from diffsim_core.io import load_snu
from diffsim_core.options import EpisodeLength, RandomStart
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel
from diffsim_core.tasks._anatomy import lower_body
from diffsim_core.tasks._locomotion import HEIGHT, Runner
from diffsim_core.tasks._rigid import MUSCLE_STRENGTH, ContactLaw, InertiaLaw, LimitLaw, task_maker
from diffsim_core.tasks._running import ActionPenalty, EarlyTermination, height_reward

LEGS = ("Femur", "Tibia", "Talus", "FootThumb", "FootPinky")
SNU_BODIES = ("Pelvis", *(f"{name}{side}" for side in "RL" for name in LEGS))
"""Bodies of the skeleton that the paper uses."""
TERMINATION_HEIGHT = 0.46
_MARGIN = 0.05


class HumanoidMTU(Runner):
    """Observation ``[N, 53]``, action ``[N, 152]``: muscle i pulls with ``(a_i + 1) / 2`` of its force.

    Args:
        dynamics: The simulator.
        episode_length: Control steps in an episode.
        random_start: Add the released code's noise to the initial state.
        early_termination: End an episode where the pelvis is lower than 0.46 m.
        action_penalty: Weight of the sum of activations in the reward; default: 0.001.
        height_reward: Reward height as in the paper (Eq. 24); its released code computes this term but does not use it.
    """

    name = "humanoid_mtu"
    substeps = 48
    memory = "low"
    joint_noise = 0.0
    remembers_action = False
    fallen_below = TERMINATION_HEIGHT
    penalty = 0.001

    def __init__(
        self,
        dynamics: RigidDynamics,
        *,
        episode_length: EpisodeLength = 1000,
        random_start: RandomStart = True,
        early_termination: EarlyTermination = True,
        action_penalty: ActionPenalty = None,
        height_reward: Annotated[bool, doc("Reward height as in the paper, Eq. 24.")] = False,
    ) -> None:
        q = dynamics.model.q_ref
        self.rest = (0.0, 0.0, 1.0, *(float(x) for x in q[3:]))
        self.pays_height = height_reward
        super().__init__(
            dynamics,
            episode_length=episode_length,
            random_start=random_start,
            early_termination=early_termination,
            action_penalty=action_penalty,
        )

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """``v_x + 0.1 up + heading`` of Eq. 23, on request plus ``H`` of Eq. 24: height over 0.51 m up to 0.05 m."""
        reward = self.progress(next_obs)
        if self.pays_height:
            above = next_obs[:, HEIGHT] - (TERMINATION_HEIGHT + _MARGIN)
            reward = reward + height_reward(xp, above, 0.05, 4.0)
        return reward

    def effort(self, xp: Any, action: Array) -> Array:
        """The sum of activations, as in the released code; the paper has the squared action."""
        return xp.sum(0.5 * action + 0.5, axis=1)


def load_legs(
    *,
    skeleton: Annotated[str | Path | None, doc("The paper's human.xml; needs muscles too.")] = None,
    muscles: Annotated[str | Path | None, doc("The paper's muscle284.xml.")] = None,
    contact_law: ContactLaw = None,
    limit_law: LimitLaw = None,
    inertia_law: InertiaLaw = None,
) -> RigidModel:
    """The paper's legs from a user's files, or the built-in ones.

    Args:
        skeleton: The paper's ``human.xml``; requires ``muscles`` too.
        muscles: The paper's ``muscle284.xml``.
        contact_law: ``"released"`` (the default) or ``"paper"``.
        limit_law: The same.
        inertia_law: The same.

    Raises:
        ValueError: one of ``skeleton`` and ``muscles`` is given without the other.
    """
    laws = {"contact_law": contact_law, "limit_law": limit_law, "inertia_law": inertia_law}
    if skeleton is not None and muscles is not None:
        return load_snu(skeleton, muscles, keep=SNU_BODIES, strength=MUSCLE_STRENGTH, **laws)
    if skeleton is None and muscles is None:
        return lower_body(**laws)
    missing = "muscles" if muscles is None else "skeleton"
    raise ValueError(f"{missing} is not given: pass both skeleton and muscles, or neither for the built-in legs")


make_task = task_maker(HumanoidMTU, load_legs)
