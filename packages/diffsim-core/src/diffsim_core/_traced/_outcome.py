"""What a fused step writes, what is kept of it, and what its way back writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from diffsim_core._buffer import Buffer

DONE = 3
"""The row of ``Outcome.flags`` with the worlds in which a new episode begins."""
Front = Sequence[torch.Tensor]
"""What a step writes before new episodes begin, in the order of ``Node.front``."""


class Outcome(NamedTuple):
    """What a step writes."""

    moved: list[torch.Tensor]
    """Physics as the simulator writes it, before any reset."""
    physics: list[torch.Tensor]
    """The same list, or another one where an episode ended, or may have."""
    remembered: list[torch.Tensor]
    final_obs: list[torch.Tensor]
    reward: torch.Tensor
    metrics: list[torch.Tensor]
    obs: list[torch.Tensor] | None
    """After resets; None where there certainly was none."""
    t: torch.Tensor
    flags: torch.Tensor
    """``[4, N]`` bool: terminated, truncated, diverged, done."""
    ok: torch.Tensor
    action: torch.Tensor
    """Clipped."""
    control: list[torch.Tensor]
    begun: Any
    """Memory at the start of new episodes; None where none began, or all of it is replaced already."""
    episode: torch.Tensor

    def outputs(self) -> tuple[torch.Tensor, ...]:
        """Those with a derivative."""
        made = (*self.physics, *self.remembered, *self.final_obs, self.reward, *self.metrics)
        return made if self.obs is None else (*made, *self.obs)


class Kept(NamedTuple):
    """What ``Node.pull`` needs of a step."""

    arrays: Sequence[torch.Tensor]
    """Action, physics, memory that the task's functions read, and constants, before the step."""
    outcome: Outcome
    saved: Any
    """Room of the simulator, given back when nobody holds it any longer."""


class Back(NamedTuple):
    """What the way back through a step writes: cotangents, all of them anew."""

    made: dict[str, torch.Tensor]
    """Of what the task's functions read, by the name of the leaf."""
    inward: list[torch.Tensor]
    """Of physics, control and constants, by the simulator."""
    action: torch.Tensor
    buffers: tuple[list[Buffer], list[Buffer]]
    """What the simulator reads of ``made``, and ``inward``."""
