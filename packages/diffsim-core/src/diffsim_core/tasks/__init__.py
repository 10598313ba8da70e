"""The built-in tasks, one file each, and the base classes for your own."""

from __future__ import annotations

from diffsim_core.tasks._locomotion import Runner as Runner
from diffsim_core.tasks._planar import PlanarRunner as PlanarRunner
from diffsim_core.tasks._randomised import Randomised as Randomised
from diffsim_core.tasks._rigid import RigidTask as RigidTask
from diffsim_core.tasks._rigid import bundled_model as bundled_model
from diffsim_core.tasks._rigid import simulate as simulate
from diffsim_core.tasks._running import GymnasiumReward as GymnasiumReward
from diffsim_core.tasks._running import RunningTask as RunningTask
from diffsim_core.tasks.robot import Robot as Robot
from diffsim_core.tasks.robot import robot_task as robot_task
from diffsim_core.tasks.robot import with_servos as with_servos
