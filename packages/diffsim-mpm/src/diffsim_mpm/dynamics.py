"""``MpmDynamics``: deformable bodies as a differentiable control step over many worlds."""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from diffsim_core import ArraySpec
from diffsim_core.native import Kernels, NativeDynamics, check_step, default_threads, scalar, step_arguments
from diffsim_mpm._check_model import check_model, check_positions, check_sub_dt
from diffsim_mpm._kernels import SizeClass, kernels
from diffsim_mpm._launches import Launches, kept_numbers
from diffsim_mpm._pack import MaterialParameters, materials_of, pack
from diffsim_mpm.materials import MATERIALS
from diffsim_mpm.model import MpmModel

_WORTH_A_THREAD = 20_000
"""Particle-sub-steps below which handing work to another thread costs more than it saves."""


class MpmState(NamedTuple):
    """State of every world."""

    x: Any
    """Positions of particles ``[N, n, 3]`` [m]."""
    v: Any
    """Their velocities ``[N, n, 3]`` [m/s]."""
    C: Any
    """Velocity gradients ``[N, n, 3, 3]`` [1/s]."""
    F: Any
    """Deformation gradients ``[N, n, 3, 3]``, the elastic part where there is plastic flow."""


class HistoryState(NamedTuple):
    """State of every world, where a material has a number of its own for each particle. Fields as in ``MpmState``."""

    x: Any
    v: Any
    C: Any
    F: Any
    h: Any
    """``[N, n]``, see the material; zero at first."""


class DrivenState(NamedTuple):
    """State of every world, where shapes move with joints. Fields as in ``MpmState``."""

    q: Any
    """Joint positions ``[N, nq]`` ([m], [rad])."""
    x: Any
    v: Any
    C: Any
    F: Any


class DrivenHistoryState(NamedTuple):
    """State of every world, with joints and a number for each particle."""

    q: Any
    x: Any
    v: Any
    C: Any
    F: Any
    h: Any


_WRENCH = "wrench"
_STATES = {
    (False, False): MpmState,
    (False, True): HistoryState,
    (True, False): DrivenState,
    (True, True): DrivenHistoryState,
}


@functools.cache
def _with_wrench(state: Any) -> Any:
    """The state with the field ``wrench`` in addition."""
    return namedtuple(f"{state.__name__}WithWrench", [*state._fields, _WRENCH])


class MpmConstants(NamedTuple):
    """Constants of every world, where some of the materials' numbers are inputs."""

    params: Any
    """``[N, np]``, in the order of ``MpmDynamics.parameters.names``."""


class MpmDynamics(NativeDynamics):
    """One control step of ``substeps`` sub-steps of the material point method, and its vector-Jacobian product.

    The method is MLS-MPM (Hu et al. 2018) with APIC transfers (Jiang et al. 2015) and quadratic B-splines, and explicit
    in time. On a CPU a worker does all sub-steps of a world, and the grid is the box around that world's particles; on
    CUDA there is a launch for each stage of a sub-step. Nothing but the state is kept for the backward pass: it does
    the sub-steps of a control step again, and back, in the simulator's own memory.

    The state is ``MpmState``; ``HistoryState``, ``DrivenState`` or ``DrivenHistoryState`` where the model needs more.
    If shapes move with joints, the control is ``u [N, nq]``, the change of their positions during the control step
    ([m], [rad]). A world diverges in which a particle comes closer than half a cell to a side of the grid, or a number
    exceeds ``limit``.

    Args:
        model: Bodies, grid and shapes.
        dt: Duration of a control step [s].
        substeps: Sub-steps in a control step.
        dtype: ``"float32"`` for work, ``"float64"`` for checks.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        threads: CPU threads; by default every core this process may use, or ``DIFFSIM_NUM_THREADS``.
        parameters: Names of the materials' numbers that become an input, such as ``"E:dough"``, or ``"E"`` for that of
            every body; the simulator then has the constants :class:`MpmConstants`.
        reactions: Whether the state ends with ``wrench [N, ns, 6]``, what shapes felt during the control step: the mean
            force [N] and the mean torque about the shape's origin [N m] on each of them, in world axes. A step does not
            read it.
        limit: A world in which any number of the state exceeds this after a control step has diverged.
        atomics: On CUDA, particles are listed by cells, and a node adds up what those around it give, always in the
            same order: the same state and control give the same bits. With ``atomics`` particles add to the nodes in
            no particular order, which takes less memory and fewer launches, and two runs may differ in the last bits.
            On a CPU it changes nothing.

    Raises:
        ValueError: for an argument that makes no sense, a model that cannot be simulated, or sub-steps that are too
            long; the message then names the longest stable one.
    """

    constant_type: type = MpmConstants

    def __init__(
        self,
        model: MpmModel,
        *,
        dt: float,
        substeps: int,
        dtype: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
        parameters: Sequence[str] = (),
        reactions: bool = False,
        limit: float = 1e6,
        atomics: bool = False,
    ) -> None:
        check_step(dt, substeps, dtype, threads)
        if reactions and not model.shapes:
            raise ValueError("reactions=True: the model has no shapes that could feel a force; give it some")
        check_model(model)
        self._check_sub_dt(model, dt / substeps)
        self.model = model
        self.dt = dt
        self.substeps = substeps
        self.dtype = dtype
        self.device = device
        self.limit = limit
        self.reactions = reactions
        self.atomics = atomics
        self.threads = threads or default_threads()
        self.parameters = MaterialParameters(model, parameters)
        self.has_h = any(MATERIALS[body.material].has_h for body in model.bodies)
        self.state_spec, self.control_spec, self.constant_spec = self._specs()
        state_type = _STATES[model.nq > 0, self.has_h]
        self.state_type: type = _with_wrench(state_type) if reactions else state_type
        self._launches = self._build(device.startswith("cuda"))
        self._step, self._vjp = self._launches.step, self._launches.vjp

    def _check_sub_dt(self, model: MpmModel, sub_dt: float) -> None:
        check_sub_dt(model, sub_dt)

    @property
    def sub_dt(self) -> float:
        """Duration of a sub-step [s]."""
        return self.dt / self.substeps

    def rest(self, num_worlds: int = 1) -> Any:
        """The model's particles at rest and undeformed, joints at zero, as NumPy arrays in ``state_type``."""
        eye = np.broadcast_to(np.eye(3), (self.model.n, 3, 3))
        known = {"x": self.model.particles, "F": eye}
        arrays = [known.get(spec.name, np.zeros(spec.shape)) for spec in self.state_spec]
        return self.state_type(*(np.repeat(a[None], num_worlds, axis=0).astype(self.dtype) for a in arrays))

    def check_state(self, state: Any) -> None:
        """Check that all particles are inside the grid.

        Raises:
            ValueError: naming the first ones that are not.
        """
        check_positions(self.model, state.x)

    def scratch_bytes(self) -> int:
        """Most memory that both passes need beside the states: of a worker on a CPU, of a world on CUDA [bytes]."""
        return self._launches.room_bytes(self.dtype)

    def cuda_module(self) -> wp.Module:
        """The module that this model runs on CUDA, wherever this one runs: to be compiled and looked into."""
        return self._kernels(True).module

    def motion(self, footage: Any, *, name: str, dt: float) -> Any:
        """See :class:`diffsim_core.viewer.OwnMotion`: particles and shapes."""
        from diffsim_mpm.views import motion_of  # which only viewers need

        return motion_of(self.model, footage, name=name, dt=dt)

    def _specs(self) -> tuple[tuple[ArraySpec, ...], ...]:
        n, nq, count = self.model.n, self.model.nq, len(self.parameters)
        state = [ArraySpec("x", (n, 3)), ArraySpec("v", (n, 3)), ArraySpec("C", (n, 3, 3)), ArraySpec("F", (n, 3, 3))]
        if nq:
            state.insert(0, ArraySpec("q", (nq,)))
        if self.has_h:
            state.append(ArraySpec("h", (n,)))
        if self.reactions and self.model.shapes:
            state.append(ArraySpec(_WRENCH, (len(self.model.shapes.shapes), 6)))
        control = (ArraySpec("u", (nq,)),) if nq else ()
        return tuple(state), control, (ArraySpec("params", (count,)),) if count else ()

    def _kernels(self, on_cuda: bool) -> Kernels:
        shapes = len(self.model.shapes.shapes) if self.model.shapes else 0
        size = SizeClass.of(materials_of(self.model), len(self.parameters.all), self.model.nq, shapes)
        return kernels(self.dtype, on_cuda, size)

    def _build(self, on_cuda: bool) -> Launches:
        built, chain = self._kernels(on_cuda), self.model.shapes
        packed = pack(
            self.model,
            self.parameters,
            dt=self.sub_dt,
            substeps=self.substeps,
            limit=self.limit,
            lanes=built.lanes,
            kept=kept_numbers(self.model, self.substeps),
        )
        tables = [packed.integers, packed.reals]
        tables += [np.zeros(1, np.int32), np.zeros(1)] if chain is None else list(chain.pack())
        # One allocation for the model's life: kernels are handed its addresses.
        self._tables = [self._table(table) for table in tables]
        addresses = ("integers", "reals", "chain_integers", "chain_reals")
        specs = (self.state_spec, self.control_spec, self.constant_spec)
        step, vjp = step_arguments(*([spec.name for spec in kind] for kind in specs))
        return Launches(
            built,
            self.model,
            blocks=packed.blocks,
            substeps=self.substeps,
            chosen=len(self.parameters),
            device=self.device,
            threads=self.threads,
            atomics=self.atomics,
            constants={name: table.ptr or 0 for name, table in zip(addresses, self._tables, strict=True)},
            step=tuple(step),
            vjp=tuple(vjp),
        )

    def _table(self, values: Any) -> Any:
        if values.dtype == np.int32:
            return wp.array(values, dtype=wp.int32, device=self.device)
        return wp.array(values.astype(self.dtype), dtype=scalar(self.dtype), device=self.device)

    def _worth(self, num_worlds: int) -> int:
        return num_worlds * self.model.n * self.substeps // _WORTH_A_THREAD
