"""Hyper-parameters of TrajOpt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import UpdateConfig, not_negative, positive


@dataclass(frozen=True, kw_only=True)
class TrajOptConfig(UpdateConfig):
    """Trajectory optimisation: the actions of one episode, whatever is observed.

    The defaults are those with which Xing et al. 2024 compare (Appendix E); docs/algorithms/trajopt.md says how what
    they leave open is read.
    """

    iterations: int = 50
    """Updates of a full run, each a whole episode of every world."""
    horizon: int = 32
    """Control steps after which the gradient is cut."""
    gamma: float = 1.0
    """Discount per control step."""
    action_lr: float = 1e-2
    """Learning rate of the actions at the first update."""
    lr_schedule: Literal["linear", "constant"] = "constant"
    """How the learning rate goes to ``lr_end``."""
    max_grad_norm: float = 0.5
    """A gradient of a larger Euclidean norm is scaled down to this."""
    weight_decay: float = 0.01
    """Decay of AdamW (the number is torch's default); 0 gives Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "action_lr")
        not_negative(self, "weight_decay")
