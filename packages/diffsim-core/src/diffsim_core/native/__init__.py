"""What an engine in C++ builds on: compilation through Warp, SIMD lanes of worlds, threads that share a step.

:mod:`diffsim_core.rigid` and ``diffsim_traffic`` are engines made of it.
"""

from __future__ import annotations

from diffsim_core.native._arguments import Arguments as Arguments
from diffsim_core.native._arguments import step_arguments as step_arguments
from diffsim_core.native._dynamics import NativeDynamics as NativeDynamics
from diffsim_core.native._dynamics import check_step as check_step
from diffsim_core.native._headers import shared_headers as shared_headers
from diffsim_core.native._launcher import Launch as Launch
from diffsim_core.native._launcher import Launcher as Launcher
from diffsim_core.native._launcher import Program as Program
from diffsim_core.native._launcher import default_threads as default_threads
from diffsim_core.native._module import Kernels as Kernels
from diffsim_core.native._module import cpu_lanes as cpu_lanes
from diffsim_core.native._module import native_kernels as native_kernels
from diffsim_core.native._module import scalar as scalar
from diffsim_core.native._module import wide_lanes as wide_lanes
