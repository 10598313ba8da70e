"""The launches of a control step and the memory that they need: one a pass on a CPU, some a sub-step on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diffsim_core.native import Kernels, Launch, Launcher, Program
from diffsim_mpm._kernels import LISTS, STEP, VJP, sum_numbers
from diffsim_mpm.model import MpmModel

PARTICLE, STRESS, NODE, FIELD = 25, 9, 4, 16
"""Numbers of a particle (x, v, C, F, h), a stress, a grid node and what a particle gives to nodes."""
_KEPT_NODES, _KEPT_NODES_A_PARTICLE = 1000, 4
"""Nodes in the box of a body that is not far from compact. Where there are more, grids are not kept but made again."""
_BACK = ("pull", "cotangents", "stresses", "gposes", "pose_sums", "param_sums")
_FORTH = ("felt",)
"""Of the room on CUDA, what a forward pass does not need, and what a backward pass does not."""
Sizes = Mapping[str, Callable[[int], int]]


class Launches:
    """Programs of a step and of its vector-Jacobian product.

    Args:
        kernels: of the model.
        model: for how many particles and nodes.
        blocks: of particles on a CPU.
        substeps: of a control step.
        chosen: parameters that are inputs.
        device: where.
        threads: CPU threads.
        atomics: whether particles scatter on CUDA.
        constants: arguments that are the same in every call.
        step: names of the arrays of a step, in their order.
        vjp: names of the arrays of its vector-Jacobian product.
    """

    def __init__(
        self,
        kernels: Kernels,
        model: MpmModel,
        *,
        blocks: int,
        substeps: int,
        chosen: int,
        device: str,
        threads: int,
        atomics: bool,
        constants: Mapping[str, Any],
        step: Sequence[str],
        vjp: Sequence[str],
    ) -> None:
        self._model, self._substeps, self._atomics = model, substeps, atomics
        self._sum = sum_numbers(kernels.dtype)
        self._items = {"particles": self._particles, "nodes": self._nodes, "worlds": _worlds, "poses": self._poses}
        self._items["gposes"] = lambda n: 24 * self._shapes * n
        known = {**constants, **{name: 0 for name in (*STEP, *VJP) if name not in {*step, *vjp}}}

        if atomics:
            known |= dict.fromkeys(LISTS, 0)

        def launcher(scratch: Sizes, **more: int) -> Launcher:
            return Launcher(kernels, device=device, threads=threads, constants={**known, **more}, scratch=scratch)

        if kernels.on_cuda:
            # a forward pass needs one state, a backward pass those of all sub-steps
            room = self._room(states=substeps + 1, chosen=chosen)
            self.room: Sizes = {name: size for name, size in room.items() if name not in _FORTH}
            room = self._room(states=1, chosen=chosen)
            forward = {name: size for name, size in room.items() if name not in _BACK}
            self.step: Program = launcher(forward, keep=0).program(*self._forward(), given=tuple(step))
            self.vjp: Program = launcher(self.room, keep=1).program(*self._backward(), given=tuple(vjp))
        else:
            self.room = self._room_of_a_worker(blocks * kernels.lanes, kernels.lanes)
            both = launcher(self.room)
            self.step = both.program(Launch("mpm_step", items=_worlds), given=tuple(step))
            self.vjp = both.program(Launch("mpm_step_vjp", items=_worlds), given=tuple(vjp))

    def room_bytes(self, dtype: str) -> int:
        """Most memory of a worker on a CPU, of a world on CUDA [bytes]."""
        real = 4 if dtype == "float32" else 8
        return sum(size(1) * (4 if LISTS.get(name) == "int*" else real) for name, size in self.room.items())

    def _particles(self, num_worlds: int) -> int:
        return num_worlds * self._model.n

    def _nodes(self, num_worlds: int) -> int:
        x, y, z = self._model.cells
        return num_worlds * (x + 1) * (y + 1) * (z + 1)

    def _poses(self, num_worlds: int) -> int:
        return num_worlds * (self._substeps + 1)

    def _room_of_a_worker(self, particles: int, lanes: int) -> Sizes:
        nodes = NODE * (self._model.max_nodes + 2 * lanes)
        return {
            "states": lambda _: (self._substeps + 1) * PARTICLE * particles,
            "cotangents": lambda _: PARTICLE * particles,
            "stresses": lambda _: self._substeps * STRESS * particles,
            "kept": lambda _: kept_numbers(self._model, self._substeps),
            **dict.fromkeys(("grid", "velocity", "pull"), lambda _: nodes),
        }

    @property
    def _shapes(self) -> int:
        return len(self._model.shapes.shapes) if self._model.shapes else 0

    def _lists(self) -> Sizes:
        """Room for the particles of each cell."""
        if self._atomics:
            return {}
        return {
            **dict.fromkeys(("counts", "ends"), self._nodes),
            "reserved": _worlds,
            **dict.fromkeys(("cells", "listed", "sorted"), self._particles),
            "fields": lambda n: FIELD * self._particles(n),
        }

    def _room(self, states: int, chosen: int) -> Sizes:
        shapes = self._shapes
        return {
            **self._lists(),
            "states": lambda n: states * PARTICLE * self._particles(n),
            "cotangents": lambda n: PARTICLE * self._particles(n),
            "stresses": lambda n: STRESS * self._particles(n),
            **dict.fromkeys(("grid", "velocity", "pull"), lambda n: NODE * self._nodes(n)),
            "poses": lambda n: 12 * shapes * self._poses(n) + 1,
            "gposes": lambda n: 24 * shapes * n + 1,
            "impulses": lambda n: 6 * shapes * n + 1,
            "felt": lambda n: 6 * shapes * n * self._sum + 1,
            "pose_sums": lambda n: 24 * shapes * n * self._sum + 1,
            "param_sums": lambda n: chosen * n * self._sum + 1,
        }

    def _launch(self, stage: str, over: str, sub: int = 0) -> Launch:
        return Launch(f"mpm_{stage}", items=self._items[over], values={"sub": sub})

    def _forward(self) -> Iterator[Launch]:
        yield self._launch("begin", "particles")
        if self._model.shapes:
            yield self._launch("pose", "poses")
        for k in range(self._substeps):
            for stage, over in (*self._to_grid(), ("move", "particles")):
                yield self._launch(stage, over, k)
        yield self._launch("check", "particles")
        yield self._launch("end", "particles")

    def _to_grid(self, again: str = "") -> Sequence[tuple[str, str]]:
        """From particles to velocities of nodes."""
        lists = (("reserve", "nodes"), ("list", "particles"), ("sort", "particles"))
        stages = (("clear", "nodes"), ("leave", "particles"), *(() if self._atomics else lists), ("grid", "nodes"))
        return [(stage + again, over) for stage, over in stages]

    def _backward(self) -> Iterator[Launch]:
        last, shapes = self._substeps - 1, self._model.shapes is not None
        yield self._launch("begin_vjp", "particles")
        if shapes:
            yield self._launch("pose_again", "poses")
        to_grid = self._to_grid("_again")
        back = (("move_vjp", "particles"), ("grid_vjp", "nodes"), ("leave_vjp", "particles"))
        for k in range(last + 1):
            for stage, over in (*to_grid, ("move_again", "particles")):
                yield self._launch(stage, over, k)
        for k in range(last, -1, -1):
            for stage, over in (*(to_grid if k < last else ()), *back):
                yield self._launch(stage, over, k)
            if shapes:
                yield self._launch("poses_vjp", "gposes", k)
                yield self._launch("joints_vjp", "worlds", k)
        yield self._launch("end_vjp", "particles")


def kept_numbers(model: MpmModel, substeps: int) -> int:
    """Numbers of grids that a worker may keep for a backward pass: of momentum and velocity, of each sub-step."""
    return substeps * 2 * NODE * min(model.max_nodes, _KEPT_NODES + _KEPT_NODES_A_PARTICLE * model.n)


def _worlds(num_worlds: int) -> int:
    """Items of a launch of whole worlds."""
    return num_worlds
