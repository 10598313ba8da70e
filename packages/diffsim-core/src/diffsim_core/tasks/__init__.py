"""The locomotion tasks, one file each, and what a task of your own can build on."""

from __future__ import annotations

from diffsim_core.tasks._locomotion import Runner as Runner
from diffsim_core.tasks._randomised import Randomised as Randomised
from diffsim_core.tasks._rigid import RigidTask as RigidTask
