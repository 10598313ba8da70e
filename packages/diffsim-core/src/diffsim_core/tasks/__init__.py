"""The locomotion tasks, one file each, and what a task of your own can build on."""

from __future__ import annotations

from diffsim_core.tasks._locomotion import Runner as Runner
from diffsim_core.tasks._planar import PlanarRunner as PlanarRunner
from diffsim_core.tasks._rigid import RigidTask as RigidTask
from diffsim_core.tasks._rigid import bundled_dynamics as bundled_dynamics
from diffsim_core.tasks._running import GymnasiumReward as GymnasiumReward
from diffsim_core.tasks._running import RunningTask as RunningTask
