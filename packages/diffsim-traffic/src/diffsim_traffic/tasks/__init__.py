"""Traffic tasks. ``diffsim_core.make`` knows their names if this package is installed."""

from __future__ import annotations

from diffsim_traffic.tasks._traffic import TrafficTask as TrafficTask
from diffsim_traffic.tasks.pace_car import PACE_CAR_PRESETS as PACE_CAR_PRESETS
from diffsim_traffic.tasks.pace_car import PaceCar as PaceCar
from diffsim_traffic.tasks.pace_car import PaceCarPreset as PaceCarPreset
from diffsim_traffic.tasks.ring import Ring as Ring
