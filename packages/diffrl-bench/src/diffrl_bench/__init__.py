"""Benchmarks of differentiable simulators and of the algorithms that learn through them.

Importing this package loads no array library. Everything here is also a command, ``diffrl bench``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ._machine import machine as machine
from ._measurement import Measurement as Measurement
from ._measuring import measure_suite as measure_suite
from ._models import ModelsBench as ModelsBench
from ._models import bench_models as bench_models
from ._mpm import bench_mpm as bench_mpm
from ._mpm_scene import MpmBench as MpmBench
from ._record import RecordError as RecordError
from ._references import Reference as Reference
from ._results import read_results as read_results
from ._runner import RunSettings as RunSettings
from ._runner import run_suite as run_suite
from ._sim import SimBench as SimBench
from ._sim import bench_sim as bench_sim
from ._suite import PlannedRun as PlannedRun
from ._suite import Suite as Suite
from ._suite import list_suites as list_suites
from ._suite import load_suite as load_suite
from ._traffic import TrafficBench as TrafficBench
from ._traffic import bench_traffic as bench_traffic
from ._update import UpdateBench as UpdateBench
from ._update import bench_update as bench_update

try:
    __version__ = version("diffrl-bench")
except PackageNotFoundError:
    __version__ = "0+unknown"
