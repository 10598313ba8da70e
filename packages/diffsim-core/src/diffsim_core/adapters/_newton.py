"""``NewtonDynamics``: a Newton model as a differentiable control step over many worlds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import newton
import numpy as np
import warp as wp

from diffsim_core._buffer import Buffer
from diffsim_core._protocol import Array, ArraySpec
from diffsim_core._remade import Remade
from diffsim_core._warp import start_warp
from diffsim_core.adapters import _newton_kernels as kernels
from diffsim_core.adapters._newton_model import check_model, check_solver, per_world, quaternions


class NewtonState(NamedTuple):
    """State of every world in Newton's generalised coordinates (``SolverFeatherstone``)."""

    q: Array
    """``joint_q`` ``[N, nq]`` ([m], [rad]); a free joint is position and quaternion xyzw."""
    qd: Array
    """``joint_qd`` ``[N, nv]``; of a free joint the velocity of the centre of mass [m/s], then the angular velocity
    [rad/s], both in world axes."""


class NewtonBodyState(NamedTuple):
    """State of every world as poses and twists of its bodies (``SolverSemiImplicit``)."""

    body_q: Array
    """``[N, bodies, 7]``: position [m] and quaternion xyzw of each body."""
    body_qd: Array
    """``[N, bodies, 6]``: velocity of the centre of mass [m/s], then angular velocity [rad/s], both in world axes."""


class NewtonDynamics(Remade):
    """One control step of ``substeps`` steps of a Newton solver, and its vector-Jacobian product.

    Gradients of Newton's own ``step`` on a tape are wrong for more than one step, and in contact; the documentation's
    page on Newton shows it. Here every sub-step has its own solver and state, because ``SolverFeatherstone`` keeps the
    arrays of a step in the solver. Wrenches that it overwrites are restored before its backward pass. Quaternions are
    normalised first.

    Both passes are recorded once, at construction, and then replayed. The backward pass repeats the control step from
    its start, so that nothing is saved and memory does not grow with the window.

    Collision detection runs at the start of each control step, and its contact points stay for the whole step. That is
    exact for a plane against a sphere or capsule if the contact is detected early enough: give shapes a ``gap`` of at
    least the distance that they can move in a control step. No gradient passes through the choice of contact points.

    Args:
        model: Equal worlds, ``builder.replicate(robot, N)``, finalised with ``requires_grad=True``.
        dt: Duration of a control step [s].
        substeps: Number of solver steps in a control step.
        solver: ``"featherstone"`` or ``"semi_implicit"``, or Newton's class.
        controls: Names of arrays of ``newton.Control`` that are inputs: ``joint_f`` ([N] or [N m] for each degree of
            freedom, including the root's), ``joint_target_q``, ``joint_target_qd``.
        solver_options: Keyword arguments of the solver.
        contacts: Whether shapes collide.
        limit: A world diverges if any number of its state reaches this.

    Raises:
        ValueError: for a solver that is not differentiable, or a model whose gradients would be missing or wrong; the
            message says which and what to do.
    """

    dtype = "float32"
    """Newton computes in single precision only."""

    def __init__(
        self,
        model: newton.Model,
        *,
        dt: float,
        substeps: int,
        solver: str | type = "featherstone",
        controls: Sequence[str] = ("joint_f",),
        solver_options: Mapping[str, Any] | None = None,
        contacts: bool = True,
        limit: float = 1e6,
    ) -> None:
        if not (math.isfinite(dt) and dt > 0):
            raise ValueError(f"dt={dt!r} must be positive seconds")
        if substeps < 1:
            raise ValueError(f"substeps={substeps!r} must be at least 1")
        start_warp()
        options = dict(solver_options or {})
        kind = check_solver(solver, options)
        check_model(model, kind)
        self.model = model
        self.num_worlds = n = int(model.world_count)
        self.dt = dt
        self.substeps = substeps
        self.limit = limit
        self.device = str(model.device)
        self._states: list[Any] = [model.state() for _ in range(substeps + 1)]
        self._solvers = [kind(model, **options) for _ in range(substeps)]
        self._control = model.control()
        self._pipeline = newton.CollisionPipeline(model, requires_grad=False) if contacts else None
        self._contacts: Any = self._pipeline.contacts() if self._pipeline else None
        fields = ("body_q", "body_qd") if kind is newton.solvers.SolverSemiImplicit else ("joint_q", "joint_qd")
        self.state_type: type = NewtonBodyState if fields[0] == "body_q" else NewtonState
        first, last = self._states[0], self._states[-1]
        self._inputs = [getattr(first, name) for name in fields]
        self._inputs += [per_world(self._control, name, n) for name in controls]
        self._outputs = [getattr(last, name) for name in fields]
        tails = [(len(array) // n, wp.types.type_size(array.dtype)) for array in self._inputs]
        shapes = [(count,) if width == 1 else (count, width) for count, width in tails]
        names = [*self.state_type._fields, *controls]
        specs = [ArraySpec(name, shape) for name, shape in zip(names, shapes, strict=True)]
        self.state_spec: tuple[ArraySpec, ...] = tuple(specs[:2])
        self.control_spec: tuple[ArraySpec, ...] = tuple(specs[2:])
        starts = quaternions(model, maximal=fields[0] == "body_q")
        self._quaternions = wp.array(starts, dtype=wp.int32, device=self.device)
        self._norms = wp.ones((n, len(starts)), dtype=wp.float32, device=self.device)
        self._rest = [wp.clone(_rows(array, n)) for array in self._inputs]
        self._seeds = [wp.zeros_like(_rows(array, n), requires_grad=False) for array in self._outputs]
        self._record()

    @property
    def sub_dt(self) -> float:
        """Duration of a sub-step [s]."""
        return self.dt / self.substeps

    @property
    def buffer_bytes(self) -> int:
        """Memory of all sub-steps' states and solvers, gradients included [bytes]."""
        owned: dict[int, int] = {}
        shared = {array.ptr for array in _arrays(self.model)}
        for holder in (*self._states, *self._solvers):
            for array in _arrays(holder):
                for part in (array, array.grad):
                    if part is not None and part.ptr is not None and part.ptr not in shared:
                        owned[part.ptr] = part.capacity
        return sum(owned.values())

    def saved_size(self, num_worlds: int) -> int:
        """0: the backward pass repeats the control step instead of saving it."""
        return 0

    def initial_state(self) -> tuple[np.ndarray[Any, Any], ...]:
        """The state in which the model was built, NumPy arrays ``[N, ...]`` as ``state_spec`` says."""
        rows = zip(self._rest, self.state_spec, strict=False)
        return tuple(array.numpy().reshape(self.num_worlds, *spec.shape) for array, spec in rows)

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        """See :class:`diffsim_core.Dynamics`."""
        self._check_worlds(state[0].shape[0])
        fine = ok.array()
        self._advance([*state, *control], fine)
        made = [_rows(array, self.num_worlds) for array in self._outputs]
        for rows in made:
            self._launch(kernels.judge, self.num_worlds, [rows, self.limit, fine])
        for rows, given, result in zip(made, state, out, strict=True):
            self._launch(kernels.settle, rows.shape, [fine, rows, _view(given), _view(result)])

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        """See :class:`diffsim_core.Dynamics`."""
        self._check_worlds(state[0].shape[0])
        fine = ok.array()
        self._advance([*state, *control], wp.empty_like(fine))
        for seed, cotangent in zip(self._seeds, out_cotangent, strict=True):
            self._launch(kernels.mask, seed.shape, [fine, _view(cotangent), seed])
        wp.capture_launch(self._backward)
        pose = [_rows(array, self.num_worlds) for array in (self._inputs[0], self._inputs[0].grad)]
        self._launch(kernels.normalise_vjp, self._norms.shape, [self._quaternions, pose[0], self._norms, pose[1]])
        for array, result in zip(self._inputs, in_cotangent, strict=True):
            rows = _rows(array.grad, self.num_worlds)
            self._launch(kernels.mask, rows.shape, [fine, rows, _view(result)])

    def _advance(self, given: Sequence[Buffer], ok: wp.array) -> None:
        """Load a state and controls, detect contacts and run the sub-steps."""
        ok.fill_(1)
        for buffer, rest, array in zip(given, self._rest, self._inputs, strict=True):
            rows = _rows(array, self.num_worlds)
            self._launch(kernels.take, self.num_worlds, [_view(buffer), rest, self.limit, rows, ok])
        pose = _rows(self._inputs[0], self.num_worlds)
        self._launch(kernels.normalise, self._norms.shape, [self._quaternions, pose, self._norms, ok])
        self._find_contacts()
        wp.capture_launch(self._forward)

    def _find_contacts(self) -> None:
        first = self._states[0]
        if self.state_type is NewtonState:
            newton.eval_fk(self.model, first.joint_q, first.joint_qd, first)
        if self._pipeline is not None:
            self._pipeline.collide(first, self._contacts)

    def _record(self) -> None:
        """Run everything once, to compile the kernels, then capture both passes as graphs."""
        self._tape = None
        self._find_contacts()
        self._substeps()
        with wp.ScopedCapture(device=self.device) as forward:
            self._tape = wp.Tape()
            with self._tape:
                self._substeps()
        self._tape.backward()  # the tape now knows the arrays it has to clear
        with wp.ScopedCapture(device=self.device) as backward:
            self._tape.zero()
            for array, seed in zip(self._outputs, self._seeds, strict=True):
                wp.copy(_rows(array.grad, self.num_worlds), seed)
            self._tape.backward()
        self._forward: Any = forward.graph
        self._backward: Any = backward.graph

    def _substeps(self) -> None:
        pairs = zip(self._solvers, self._states[:-1], self._states[1:], strict=True)
        for solver, before, after in pairs:
            before.clear_forces()
            solver.step(before, after, self._control, self._contacts, self.sub_dt)
            if self._tape is not None and self.state_type is NewtonState:
                self._tape.record_func(lambda of=after: self._restore(of), [])

    def _restore(self, after: Any) -> None:
        arrays = [after.body_q_com, after.body_solve_origin, after.body_f_ext]
        self._launch(kernels.as_given, self.model.body_count, arrays)

    def _launch(self, kernel: Any, dim: int | tuple[int, ...], inputs: list[Any]) -> None:
        wp.launch(kernel, dim=dim, inputs=inputs, device=self.device)

    def _check_worlds(self, num_worlds: int) -> None:
        if num_worlds != (n := self.num_worlds):
            raise ValueError(f"state has {num_worlds} worlds, but the Newton model was finalised with {n}")


def _rows(array: wp.array, num_worlds: int) -> wp.array:
    """The numbers of a Newton array as ``[N, numbers of a world]``, without a copy."""
    width = len(array) * wp.types.type_size(array.dtype) // num_worlds
    return wp.array(ptr=array.ptr, shape=(num_worlds, width), dtype=wp.float32, device=array.device, copy=False)


def _view(buffer: Buffer) -> wp.array:
    """A buffer as ``[N, numbers of a world]``."""
    return Buffer(buffer.ptr, (buffer.shape[0], math.prod(buffer.shape[1:])), buffer.dtype, buffer.device).array()


def _arrays(holder: object) -> list[wp.array]:
    return [value for value in vars(holder).values() if isinstance(value, wp.array)]
