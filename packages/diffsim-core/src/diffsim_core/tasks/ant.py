"""Ant (SHAC paper, A.3.4): a four-legged robot with eight motors should run along x."""

from __future__ import annotations

from typing import Any

from diffsim_core._protocol import Array, PyTree
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.tasks._locomotion import HEIGHT, Runner
from diffsim_core.tasks._rigid import bundled_dynamics

REST = (0.0, 0.0, 0.75, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0)
TERMINATION_HEIGHT = 0.27


class Ant(Runner):
    """Observation ``[N, 37]``, action ``[N, 8]``: 200 N m times the action on each hinge."""

    def __init__(
        self,
        dynamics: RigidDynamics,
        *,
        horizon: int,
        random_start: bool,
        early_termination: bool,
        action_penalty: float,
    ) -> None:
        super().__init__(
            "ant",
            dynamics,
            horizon=horizon,
            rest=REST,
            target_distance=10_000.0,
            remembers_action=True,
            random_start=random_start,
        )
        self.early_termination = early_termination
        self.action_penalty = action_penalty

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: Array, task: PyTree
    ) -> Array:
        """``v_x + 0.1 up + heading + (height - 0.27) - action_penalty |a|^2`` (Eq. 19)."""
        reward = self.progress(next_obs) + (next_obs[:, HEIGHT] - TERMINATION_HEIGHT)
        if self.action_penalty:
            reward = reward - self.action_penalty * xp.sum(action * action, axis=1)
        return reward

    def terminated(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """The torso is lower than 0.27 m."""
        if not self.early_termination:
            return super().terminated(xp, physics, task)
        return physics.q[:, 2] < TERMINATION_HEIGHT


def make_task(
    *,
    num_envs: int,
    device: str,
    dtype: str,
    episode_length: int = 1000,
    random_start: bool = True,
    early_termination: bool = True,
    action_penalty: float = 0.0,
    contact_law: str | None = None,
    limit_law: str | None = None,
    inertia_law: str | None = None,
    substeps: int = 16,
    threads: int | None = None,
    memory: str = "fast",
) -> Ant:
    """Ant.

    Args:
        num_envs: Unused: the simulator takes any number of worlds.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        dtype: ``"float32"`` or ``"float64"``.
        episode_length: Control steps of 1/60 s in an episode.
        random_start: Add the released code's noise to the initial state.
        early_termination: End an episode when the torso falls below 0.27 m.
        action_penalty: Weight of the squared action; the released code's is zero.
        contact_law: ``"released"`` (the default) or ``"paper"`` (Eq. 3 as printed).
        limit_law: ``"released"`` (the default: joints also have a constant damping of 10) or ``"paper"`` (Eq. 4).
        inertia_law: ``"released"`` (the default: inertias turned into the link's axes as the released code does,
            which is not a rotation) or ``"paper"`` (the shapes' own).
        substeps: Sub-steps in a control step.
        threads: CPU threads of the simulator.
        memory: ``"fast"`` or ``"low"``, see :class:`RigidDynamics`.
    """
    laws = {"contact_law": contact_law, "limit_law": limit_law, "inertia_law": inertia_law}
    dynamics = bundled_dynamics(
        "ant", laws=laws, substeps=substeps, dtype=dtype, device=device, threads=threads, memory=memory
    )
    return Ant(
        dynamics,
        horizon=episode_length,
        random_start=random_start,
        early_termination=early_termination,
        action_penalty=action_penalty,
    )
