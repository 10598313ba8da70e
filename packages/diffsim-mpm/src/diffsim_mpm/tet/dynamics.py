"""``TetDynamics``: soft bodies of tetrahedra as a differentiable control step over many worlds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import warp as wp

from diffsim_core import ArraySpec, to_numpy
from diffsim_core.native import Launch, Launcher, NativeDynamics, check_step, default_threads, scalar, step_arguments
from diffsim_mpm.tet._kernels import CONSTANTS, CONTROL, STATE, STEP, VJP, kernels
from diffsim_mpm.tet._pack import pack
from diffsim_mpm.tet.model import TetModel

if TYPE_CHECKING:
    from diffsim_core.viewer import Footage, Motion

_TETS_WORTH_A_THREAD = 100_000
"""Tetrahedra times worlds times sub-steps below which handing work to another thread costs more than it saves."""


class TetState(NamedTuple):
    """State of every world."""

    x: Any
    """Positions of nodes ``[N, n, 3]`` [m]."""
    v: Any
    """Velocities of nodes ``[N, n, 3]`` [m/s]."""


class TetConstants(NamedTuple):
    """What no step changes, of every world: factors on the model's numbers, 1 for the model itself."""

    k_mu: Any
    """Factor on ``TetModel.k_mu`` ``[N]``."""
    k_lambda: Any
    """Factor on ``TetModel.k_lambda`` ``[N]``."""
    density: Any
    """Factor on ``TetModel.density`` ``[N]``."""


class TetDynamics(NativeDynamics):
    """One control step of ``substeps`` semi-implicit Euler sub-steps, and its vector-Jacobian product.

    The control ``u [N, na]`` holds the activations, see :class:`TetModel`. A model with capsules has two controls more:
    ``ends [N, nc, 2, 3]``, where the ends of each capsule are when the step begins [m], and ``ends_v``, of the same
    shape, how fast they move during it [m/s]. Constants are factors on stiffnesses and density, see
    :class:`TetConstants`; a world with one that is not positive diverges.

    On a CPU a SIMD lane is eight worlds, and blocks of worlds are spread over threads; on CUDA each world has a thread.
    Nothing is kept for the backward pass, which simulates the control step again, into a scratch of each thread or, on
    CUDA, of each world. ``memory`` says how much it holds.

    Args:
        model: The bodies.
        dt: Duration of a control step [s].
        substeps: Sub-steps in a control step.
        dtype: ``"float32"`` for work, ``"float64"`` for checks.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        threads: CPU threads; by default every core this process may use, or ``DIFFSIM_NUM_THREADS``.
        memory: What the scratch holds in the backward pass: ``"fast"`` the states of all sub-steps, ``"low"`` about
            twice the square root of their number, which takes one more simulation.
        limit: A world in which any position [m] or velocity [m/s] exceeds this after a control step has diverged.

    Raises:
        ValueError: for an argument that makes no sense, and sub-steps longer than ``TetModel.stable_dt``.
    """

    state_type: type = TetState
    constant_type: type = TetConstants

    def __init__(
        self,
        model: TetModel,
        *,
        dt: float,
        substeps: int,
        dtype: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
        memory: str = "fast",
        limit: float = 1e4,
    ) -> None:
        check_step(dt, substeps, dtype, threads)
        if memory not in ("fast", "low"):
            raise ValueError(f"memory={memory!r} must be 'fast' or 'low'")
        if dt / substeps > model.stable_dt:
            needed = math.ceil(dt / model.stable_dt)
            raise ValueError(
                f"sub-steps of dt/substeps = {dt / substeps:.3g} s are longer than the stable {model.stable_dt:.3g} s; "
                f"take substeps={needed} or more, softer or heavier bodies, or larger tetrahedra"
            )
        self.model = model
        self.dt = dt
        self.substeps = substeps
        self.dtype = dtype
        self.device = device
        self.memory = memory
        self.limit = limit
        self.threads = threads or default_threads()
        nodes, capsules = (model.num_nodes, 3), (len(model.capsules), 2, 3)
        self.state_spec = tuple(ArraySpec(name, nodes) for name in STATE)
        self.control_spec: tuple[ArraySpec, ...] = (ArraySpec("u", (model.num_controls,)),)
        if model.capsules:
            self.control_spec += (ArraySpec("ends", capsules), ArraySpec("ends_v", capsules))
        self.constant_spec = tuple(ArraySpec(name, ()) for name in CONSTANTS)
        built = kernels(dtype, device.startswith("cuda"))
        integers, reals = pack(model)
        # One allocation for the model's life: kernels are handed its addresses.
        self._integers = wp.array(integers, dtype=wp.int32, device=device)
        self._reals = wp.array(reals.astype(dtype), dtype=scalar(dtype), device=device)
        controls = CONTROL if model.capsules else CONTROL[:1]
        step, vjp = step_arguments(STATE, controls, CONSTANTS)
        constants = {
            "integers": self._integers.ptr or 0,
            "reals": self._reals.ptr or 0,
            "substeps": substeps,
            "dt": dt / substeps,
            "limit": limit,
            "segment": self._segment,
            **{name: 0 for name in (*STEP, *VJP) if name not in step | vjp},
        }
        numbers = self._scratch_numbers()

        def room(num_worlds: int) -> int:  # of all worlds on CUDA, of one worker on a CPU
            return numbers * (num_worlds if built.on_cuda else built.lanes)

        scratch = {"room": room}
        launcher = Launcher(built, device=device, constants=constants, scratch=scratch, threads=self.threads)
        self._step = launcher.program(Launch("tet_step"), given=tuple(step))
        self._vjp = launcher.program(Launch("tet_step_vjp"), given=tuple(vjp))

    def _scratch_numbers(self) -> int:
        """Of a world, in the backward pass: controls, states of sub-steps, and the cotangents of both."""
        model = self.model
        inputs = model.num_controls + 12 * len(model.capsules)
        states = -(-self.substeps // self._segment) + self._segment + 1
        return 2 * inputs + 3 * model.num_nodes * (2 * states + 3)

    @property
    def _segment(self) -> int:
        """Sub-steps whose states the backward pass has at a time."""
        return self.substeps if self.memory == "fast" else math.ceil(math.sqrt(self.substeps))

    def active_contacts(self, physics: TetState) -> Any:
        """Nodes that touch the ground in each world, ``[N]`` NumPy integers."""
        model = self.model
        if model.ground is None:
            return np.zeros(physics.x.shape[0], dtype=np.int64)
        return (to_numpy(physics.x)[:, :, 2] < model.ground + model.contact.radius).sum(axis=1)

    def motion(self, footage: Footage, *, name: str, dt: float) -> Motion:
        """What viewers show of a rollout: the surface of the bodies on the ground."""
        from diffsim_mpm.tet.views import motion_of

        return motion_of(self.model, footage, name=name, dt=dt)

    def cuda_module(self) -> wp.Module:
        """The module that this model runs on CUDA, wherever this one runs: to be compiled and looked into."""
        return kernels(self.dtype, True).module

    def _worth(self, num_worlds: int) -> int:
        return num_worlds * self.model.mesh.num_tets * self.substeps // _TETS_WORTH_A_THREAD
