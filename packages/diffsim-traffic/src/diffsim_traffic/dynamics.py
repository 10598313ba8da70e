"""``TrafficDynamics``: many worlds of traffic as a differentiable step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from diffsim_core import ArraySpec
from diffsim_core.native import Kernels, Launch, Launcher, NativeDynamics, check_step, default_threads, scalar
from diffsim_core.viewer import Footage
from diffsim_traffic._kernels import STEP, VJP, kernels
from diffsim_traffic.model import REACH_32, TrafficModel
from diffsim_traffic.playback import write_html
from diffsim_traffic.scene import scenes_of

_DRIVERS_WORTH_A_THREAD = 20_000
"""Driver-steps below which handing work to another thread costs more than it saves."""


class TrafficState(NamedTuple):
    """State of every world. Vehicles under control come first, see :class:`TrafficModel`."""

    x: Any
    """Positions of centres along the road ``[N, V]`` [m]; on a ring they count laps too."""
    v: Any
    """Speeds ``[N, V]`` [m/s]."""
    y: Any
    """Lateral positions of vehicles under control ``[N, C]`` [m]."""
    psi: Any
    """Headings of vehicles under control ``[N, C]`` [rad], 0 along the road."""


class TrafficConstants(NamedTuple):
    """What no step changes, of every world."""

    drivers: Any
    """Parameters of each driver's law ``[N, D, np]``, in the order of ``Law.parameters``."""


class TrafficDynamics(NativeDynamics):
    """One time step of traffic, and its vector-Jacobian product.

    Controls are ``steering`` (angle of the front wheels, ``[N, C]`` [rad]) and ``acceleration`` (``[N, C]``
    [m/s^2]), constants the parameters of the drivers. Gradients along lanes are exact; who follows whom is decided anew
    in every step and passes none on (but see ``TrafficModel.lane_smoothing``). A world whose drivers have parameters
    that make no sense diverges.

    Args:
        model: The road and its vehicles.
        dt: Duration of a step [s].
        dtype: ``"float32"`` for work, ``"float64"`` for checks.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        threads: CPU threads; by default every core this process may use, or ``DIFFSIM_NUM_THREADS``.
        limit: A world in which any number of the state exceeds this after a step has diverged. In float32 that holds
            for positions beyond 131 km (2^17 m) too: numbers out there are 1/64 m apart, and slow drivers stand still.

    Raises:
        ValueError: for an argument that makes no sense.
    """

    state_type: type = TrafficState
    constant_type: type = TrafficConstants

    def __init__(
        self,
        model: TrafficModel,
        *,
        dt: float,
        dtype: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
        limit: float = 1e6,
    ) -> None:
        check_step(dt, 1, dtype, threads)
        self.model = model
        self.dt = dt
        self.dtype = dtype
        self.device = device
        self.limit = limit
        self.reach = min(limit, REACH_32) if dtype == "float32" else limit
        """Positions beyond this are not simulated [m]."""
        self.threads = threads or default_threads()
        c, d, vehicles = model.num_controlled, model.num_drivers, model.num_vehicles
        self.state_spec = (
            ArraySpec("x", (vehicles,)),
            ArraySpec("v", (vehicles,)),
            ArraySpec("y", (c,)),
            ArraySpec("psi", (c,)),
        )
        self.constant_spec = (ArraySpec("drivers", (d, len(model.law.parameters))),)
        self.control_spec = (ArraySpec("steering", (c,)), ArraySpec("acceleration", (c,)))
        on_cuda = device.startswith("cuda")
        built = self._kernels(on_cuda)
        integers, reals = _pack(model, dt, limit, self.reach)
        # One allocation for the model's life: kernels are handed its addresses.
        self._integers = wp.array(integers, dtype=wp.int32, device=device)
        self._reals = wp.array(reals.astype(dtype), dtype=scalar(dtype), device=device)
        addresses = {"integers": self._integers.ptr or 0, "reals": self._reals.ptr or 0}
        launcher = Launcher(built, device=device, constants=addresses, threads=self.threads)
        self._step = launcher.program(Launch("traffic_step"), given=tuple(STEP))
        self._vjp = launcher.program(Launch("traffic_step_vjp"), given=tuple(VJP))

    def cuda_module(self) -> wp.Module:
        """The module that this road runs on CUDA, wherever this one runs: to be compiled and looked into."""
        return self._kernels(True).module

    def write_page(self, footage: Footage, path: str | Path, *, name: str, dt: float) -> None:
        """See :class:`diffsim_core.viewer.OwnPage`: every episode of every world, to choose from."""
        write_html(scenes_of(self.model, footage, dt=dt), path, title=name)

    def _kernels(self, on_cuda: bool) -> Kernels:
        model = self.model
        return kernels(model.law, self.dtype, on_cuda, model.num_controlled, model.lane_smoothing > 0)

    def _worth(self, num_worlds: int) -> int:
        return num_worlds * self.model.num_vehicles // _DRIVERS_WORTH_A_THREAD


def _pack(model: TrafficModel, dt: float, limit: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The model as the two tables of ``_source/model.h``."""
    ahead, laps = model.leaders()
    head = [model.num_controlled, model.num_drivers, int(model.integration == "semi_implicit")]
    integers = np.concatenate([head, model.lane_of_driver, ahead, laps]).astype(np.int32)
    road = model.road
    constants = [dt, limit, reach, road.lane_width, road.circumference or 0.0, model.gap_floor, model.max_braking]
    constants += [model.min_speed, model.max_speed, model.lane_smoothing]
    return integers, np.concatenate([constants, model.lengths])
