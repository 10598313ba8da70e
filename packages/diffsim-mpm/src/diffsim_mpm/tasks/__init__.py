"""Tasks on deformable bodies. ``diffsim_core.make`` knows their names if this package is installed."""

from __future__ import annotations

from diffsim_mpm.tasks.fluid_move import FluidMove as FluidMove
from diffsim_mpm.tasks.hand_flip import HandFlip as HandFlip
from diffsim_mpm.tasks.rolling_pin import RollingPin as RollingPin
from diffsim_mpm.tasks.soft_jumper import SoftJumper as SoftJumper
