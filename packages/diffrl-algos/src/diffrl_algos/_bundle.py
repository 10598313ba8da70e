"""``Bundle``: what the branches are that a world in heavy contact is forked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Unit

from diffsim_core.options import Count, NotNegative

from ._fields import checked


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Branches of a world in heavy contact, and their perturbations.

    The defaults are those of bundled contact gradients (arXiv:2609.30951), as far as its digest gives them; its force,
    400 N for a person, is here a multiple of the robot's weight.

    Raises:
        UsageError: a value is of the wrong type or out of its range; the message names it.
    """

    title: ClassVar[str] = "the bundle"

    branches: Count = 10
    """Branches of a world."""
    steps: Count = 2
    """Control steps that the branches take, with the same actions, before they are averaged."""
    position: Annotated[NotNegative, Unit("m")] = 0.01
    """Standard deviation of the contact point's displacement, along each axis."""
    velocity: Annotated[NotNegative, Unit("m/s")] = 0.02
    """The same of its velocity."""
    force: NotNegative = 0.6
    """Normal force of the ground on one link above which contact is heavy, in weights of the robot."""

    def __post_init__(self) -> None:
        for name, value in checked(Bundle, vars(self)).items():
            object.__setattr__(self, name, value)
