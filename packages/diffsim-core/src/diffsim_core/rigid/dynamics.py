"""``RigidDynamics``: articulated rigid bodies as a differentiable control step over many worlds."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from diffsim_core._interop import to_numpy
from diffsim_core._protocol import Array, ArraySpec
from diffsim_core._warp import start_warp
from diffsim_core.native import Launch, Launcher, NativeDynamics, default_threads, scalar, step_arguments, wide_lanes
from diffsim_core.rigid._check_model import check_model
from diffsim_core.rigid._elimination import fills_in
from diffsim_core.rigid._kernels import PROBE, STEP, VJP, SizeClass, kernels
from diffsim_core.rigid._pack_contact import has_groups
from diffsim_core.rigid._pack_passive import has_passive
from diffsim_core.rigid._pack_servos import has_totals
from diffsim_core.rigid._pack_spins import has_spins
from diffsim_core.rigid.coupled import uncoupled
from diffsim_core.rigid.limits import has_losses
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.parameters import Parameters
from diffsim_core.rigid.stability import needed_substeps, unstable_element

INTEGRATORS = ("implicit", "explicit")
"""How a sub-step treats dampers, see :class:`RigidDynamics`."""

_SUBSTEPS_WORTH_A_THREAD = 1500
"""World-sub-steps below which handing work to another thread costs more than it saves."""
_MOST_LOCAL, _MOST_LOCAL_CUDA = 1 << 30, 1 << 19
"""Bytes of local arrays that a thread of a CPU, and of CUDA, may have."""
_WIDE_LOCAL = 1 << 20
"""Bytes of local arrays up to which blocks have as many worlds as registers hold; larger ones would leave the cache."""


class RigidState(NamedTuple):
    """State of every world."""

    q: Array
    """Coordinates ``[N, nq]`` ([m], [rad], quaternions wxyz), see ``RigidModel``."""
    qd: Array
    """Velocities ``[N, nv]`` ([m/s], [rad/s])."""


class MuscleState(NamedTuple):
    """State of every world, where muscles or actuators have activations."""

    q: Array
    """Coordinates ``[N, nq]``, see ``RigidModel``."""
    qd: Array
    """Velocities ``[N, nv]``."""
    act: Array
    """Activations ``[N, na]``."""


class ModelParameters(NamedTuple):
    """Constants of every world, where some of the model's numbers are inputs."""

    params: Array
    """Model parameters ``[N, np]``, in the order of ``RigidDynamics.parameters.names``."""


class Probe(NamedTuple):
    """What the engine makes of a state."""

    mass: Any
    """Mass matrix M ``[N, nv, nv]``."""
    force: Any
    """Generalised force f ``[N, nv]`` of actuators, springs, contact, gravity and motion: ``M qdd = f``."""
    qdd: Any
    """Accelerations ``[N, nv]``."""
    contacts: Any
    """Contact points below the ground and pairs of shapes that overlap, ``[N]`` integers."""


class RigidDynamics(NativeDynamics):
    """One control step of ``substeps`` semi-implicit Euler sub-steps, and its vector-Jacobian product.

    The kernels in ``_source/`` do all sub-steps of a block of worlds at once, in SIMD over worlds on a CPU with
    blocks spread over threads, or one world per thread on CUDA. The backward pass uses what the forward pass
    kept of every sub-step (coordinates, velocities, accelerations and, if asked, the mass matrix's factor).

    Args:
        model: The articulated system.
        dt: Duration of a control step [s].
        substeps: Sub-steps in a control step. ``"auto"``: as many as the masses and the stiffest springs ask for, and
            at least 960 in a second. A number that is too small for a joint is a warning with the joint's name.
        dtype: ``"float32"`` for work, ``"float64"`` for checks.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        threads: CPU threads; by default every core this process may use, or ``DIFFSIM_NUM_THREADS``.
        memory: What the backward pass is left: ``"fast"`` keeps the mass matrix's factor of every sub-step too,
            ``"low"`` works it out again (for Ant a third of the memory and 15 % more time in the backward pass).
        contact_smoothing: Width [m] over which contact forces set in, see ``RigidModel.contact_smoothing``; by default
            the model's.
        backward_smoothing: The same in the backward pass alone: its gradient is that of contact smoothed by this width,
            taken along the trajectory of the forward pass, which is not changed. By default ``contact_smoothing``.
        parameters: Names of the model's numbers that become an input, see :class:`Parameters`; the simulator then has
            the constants :class:`ModelParameters`.
        limit: A world in which any coordinate or velocity exceeds this after a control step has diverged.
        integrator: ``"implicit"``: dampers of joints, servos and limits, dry friction, and contact with the ground act
            on the velocity after the sub-step, ``(M + h C) qdd = f``, and stay stable however stiff they are. MuJoCo's
            ``implicitfast`` does this for joints and servos. ``"explicit"``: on the velocity before it, as in the SHAC
            paper's code, which the papers' tasks keep.

    Raises:
        ValueError: for an argument that makes no sense, or a model that cannot be simulated: the message lists every
            field with a wrong shape, a number that is not finite or is impossible, and joints that move no mass.
    """

    def __init__(
        self,
        model: RigidModel,
        *,
        dt: float,
        substeps: int | str = "auto",
        dtype: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
        memory: str = "fast",
        contact_smoothing: float | None = None,
        backward_smoothing: float | None = None,
        parameters: Sequence[str] = (),
        limit: float = 1e6,
        integrator: str = "implicit",
    ) -> None:
        if not dt > 0:
            raise ValueError(f"dt={dt!r} must be positive seconds")
        if not (isinstance(substeps, int) and substeps >= 1) and substeps != "auto":
            raise ValueError(f"substeps={substeps!r} must be at least 1, or 'auto'")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype={dtype!r} must be 'float32' or 'float64'")
        if memory not in ("fast", "low"):
            raise ValueError(f"memory={memory!r} must be 'fast' or 'low'")
        if integrator not in INTEGRATORS:
            raise ValueError(f"integrator={integrator!r} must be one of {', '.join(map(repr, INTEGRATORS))}")
        for name, width in (("contact_smoothing", contact_smoothing), ("backward_smoothing", backward_smoothing)):
            if width is not None and not (math.isfinite(width) and width >= 0):
                raise ValueError(f"{name}={width!r} must be a finite width in metres of at least 0")
        if contact_smoothing is not None:
            model = dataclasses.replace(model, contact_smoothing=float(contact_smoothing))
        check_model(model)
        start_warp()
        self._keep = int(memory == "fast")
        self.model = model
        self.dt = dt
        if isinstance(substeps, str):
            self.substeps = needed_substeps(model, dt, integrator)
        else:
            self.substeps = substeps
            _warn_of_divergence(model, dt, substeps, integrator)
        self.dtype = dtype
        self.device = device
        self.limit = limit
        self.memory = memory
        self.integrator = integrator
        self.backward_smoothing = backward_smoothing
        self.threads = threads or default_threads()
        self.parameters = Parameters(model, parameters)
        self.state_spec: tuple[ArraySpec, ...] = (ArraySpec("q", (model.nq,)), ArraySpec("qd", (model.nv,)))
        self.state_type: type = MuscleState if model.na else RigidState
        if model.na:
            self.state_spec = (*self.state_spec, ArraySpec("act", (model.na,)))
        self.control_spec = (ArraySpec("u", (model.nu,)),)
        count = len(self.parameters)
        self.constant_spec: tuple[ArraySpec, ...] = (ArraySpec("params", (count,)),) if count else ()
        self.constant_type: type = ModelParameters
        self._packed = self.parameters.pack(backward_smoothing)
        self._on_cuda = device.startswith("cuda")
        size = self._size(self._on_cuda)
        self._kernels = kernels(dtype, self._on_cuda, size)
        stack = size.local_bytes(dtype, self._kernels.lanes)
        _check_size(model, self._packed.num_entries, stack, self._on_cuda)
        # One allocation for the model's life: kernels are handed its addresses.
        self._integers = wp.array(self._packed.integers, dtype=wp.int32, device=device)
        self._reals = wp.array(self._packed.reals.astype(dtype), dtype=scalar(dtype), device=device)
        specs = (self.state_spec, self.control_spec, self.constant_spec)
        step, vjp = step_arguments(*([spec.name for spec in kind] for kind in specs))
        absent = [name for name in (*STEP, *VJP) if name not in step | vjp]
        constants = {
            "integers": self._integers.ptr or 0,
            "reals": self._reals.ptr or 0,
            "substeps": self.substeps,
            "keep_factor": self._keep,
            "dt": self.sub_dt,
            "limit": limit,
            **dict.fromkeys(absent, 0),
        }
        launcher = Launcher(self._kernels, device=device, constants=constants, threads=self.threads, stack=stack)
        self._step = launcher.program(Launch("control_step"), given=tuple(step))
        self._vjp = launcher.program(Launch("control_step_vjp"), given=tuple(vjp))
        self._probe = None if self._on_cuda else launcher.program(Launch("probe"), given=tuple(PROBE))

    @property
    def sub_dt(self) -> float:
        """Duration of a sub-step [s]."""
        return self.dt / self.substeps

    def _size(self, on_cuda: bool) -> SizeClass:
        model = self.model
        dofs = model.nv + len(model.couplings)
        size = SizeClass.of(model.nl, dofs, self._packed.most_entries, model.nu, on_cuda=on_cuda)
        size = replace(size, groups=has_groups(model), spins=has_spins(model))
        units, activations = model.muscles.n + model.tendons.n, -(-model.na // 16) * 16
        size = replace(size, servo_totals=has_totals(model))
        size = replace(size, servos=model.ns > 0, muscles=units > 0, activations=activations)
        size = replace(size, tendons=model.tendons.n > 0 or len(model.muscles.term_joint) > 0)
        size = replace(size, wraps=len(model.muscles.wrap_kind) + len(model.tendons.wrap_kind) > 0)
        size = replace(size, passive=has_passive(model), loops=model.loops.n > 0)
        size = replace(size, cliques=size.loops or fills_in(uncoupled(model)))
        size = replace(size, implicit=self.integrator == "implicit", losses=has_losses(model))
        size = replace(size, couplings=len(model.couplings) > 0)
        size = size.with_types(model)
        size = size.with_inputs(self._packed.num_reals, len(self.parameters))
        if not on_cuda and size.local_bytes(self.dtype, lanes := wide_lanes(self.dtype)) <= _WIDE_LOCAL:
            size = replace(size, lanes=lanes)
        return size

    def saved_size(self, num_worlds: int) -> int:
        """Numbers kept for the backward pass of one control step."""
        m = self.model
        worlds = self._kernels.blocks(num_worlds) * self._kernels.lanes
        joints = m.nq + 2 * m.nv + 3 * len(m.couplings)
        return worlds * self.substeps * (joints + m.na + self._keep * self._packed.num_entries)

    def cuda_module(self) -> wp.Module:
        """The module that this model runs on CUDA, wherever this one runs: to be compiled and looked into."""
        return kernels(self.dtype, True, self._size(True)).module

    def with_parameters(self, names: Sequence[str]) -> RigidDynamics:
        """The same simulator with these numbers of the model as inputs, see :class:`Parameters`."""
        return RigidDynamics(
            self.model,
            dt=self.dt,
            substeps=self.substeps,
            dtype=self.dtype,
            device=self.device,
            threads=self.threads,
            memory=self.memory,
            backward_smoothing=self.backward_smoothing,
            parameters=names,
            limit=self.limit,
            integrator=self.integrator,
        )

    def probe(self, q: Any, qd: Any, u: Any, *, act: Any = None, params: Any = None) -> Probe:
        """Mass matrix, generalised force, acceleration and contacts of states, as NumPy arrays (CPU only).

        Args:
            q: Coordinates ``[N, nq]``.
            qd: Velocities ``[N, nv]``.
            u: Controls ``[N, nu]``.
            act: Activations ``[N, na]``; none by default.
            params: Model parameters ``[N, np]``; the model's own by default.
        """
        m, n = self.model, len(q)
        if self._probe is None:
            raise ValueError(f"device={self.device!r}: probe reads host memory; make the dynamics with device='cpu'")
        if params is None:
            params = np.broadcast_to(self.parameters.nominal, (n, len(self.parameters)))
        act = np.zeros((n, m.na)) if act is None else act
        given = [np.ascontiguousarray(x, dtype=self.dtype) for x in (q, qd, act, u, params)]
        packed, force, qdd, touching = (np.zeros((n, k), self.dtype) for k in (self._packed.num_entries, m.nv, m.nv, 1))
        self._probe.run(n, 1, [a.ctypes.data for a in (*given, packed, force, qdd, touching)])
        mass = np.zeros((n, m.nv, m.nv), self.dtype)
        columns = self._packed.ancestor
        rows = np.repeat(np.arange(m.nv), np.diff(np.append(self._packed.row, self._packed.num_entries)))
        mass[:, rows, columns] = packed
        mass[:, columns, rows] = packed
        return Probe(mass, force, qdd, touching[:, 0].astype(np.int64))

    def active_contacts(self, physics: RigidState) -> Any:
        """Contact points below the ground and overlapping pairs in each world, ``[N]`` NumPy integers (CPU only)."""
        state = {key: x if isinstance(x, np.ndarray) else to_numpy(x) for key, x in physics._asdict().items()}
        return self.probe(u=np.zeros((len(state["q"]), self.model.nu)), **state).contacts

    def _worth(self, num_worlds: int) -> int:
        return num_worlds * self.substeps // _SUBSTEPS_WORTH_A_THREAD


def _warn_of_divergence(model: RigidModel, dt: float, substeps: int, integrator: str) -> None:
    need = unstable_element(model, dt / substeps, integrator)
    if need is not None:
        wanted = math.ceil(dt / need.h)
        warnings.warn(
            f"model {model.name!r} will diverge: the {need.label} needs {wanted} sub-steps in dt={dt:g} s, and has "
            f"{substeps}; give substeps={wanted} or 'auto', or less stiffness",
            stacklevel=3,
        )


def _check_size(model: RigidModel, entries: int, needed: int, on_cuda: bool) -> None:
    limit = _MOST_LOCAL_CUDA if on_cuda else _MOST_LOCAL
    if needed > limit:
        where = "a world on CUDA" if on_cuda else "each thread"
        raise ValueError(
            f"model {model.name!r} is too large: it has {model.nl} links and {model.nv} degrees of freedom, whose mass "
            f"matrix has {entries} entries, so {where} would need {needed / 2**20:.3g} MB of working memory of at most "
            f"{limit / 2**20:.3g} MB; make models of the robots that never touch{', or use a CPU' if on_cuda else ''}"
        )
