"""What an engine in C++ builds on: compilation through Warp, SIMD lanes of worlds, threads that share a step.

:mod:`diffsim_core.rigid` and ``diffsim_traffic`` are engines made of it.
"""

from __future__ import annotations

from diffsim_core.native._launcher import Launcher as Launcher
from diffsim_core.native._launcher import default_threads as default_threads
from diffsim_core.native._module import Kernels as Kernels
from diffsim_core.native._module import cpu_lanes as cpu_lanes
from diffsim_core.native._module import native_module as native_module
from diffsim_core.native._module import scalar as scalar
from diffsim_core.native._module import team_kernels as team_kernels
