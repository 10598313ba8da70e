"""The peer of ``diffrl bench mpm``: the same material point method in plain Warp, with Warp's automatic adjoint.

Moving least squares, affine transfers, quadratic B-splines, and a dense grid over the unit cube for every world, with
free-slip walls three cells from its faces. It is written as Warp's documentation suggests: a kernel for each stage, one
launch for all worlds, recorded by ``wp.Tape``. Each sub-step has a grid of its own, because the adjoint reads it. There
is one singular value decomposition in a sub-step (``wp.svd3``); the released Rewarped takes two for plasticine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from ._warp_mpm_kernels import MATERIALS, grid_to_particles, grid_velocity, particles_to_grid


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is simulated; the same for both sides of the comparison."""

    x: Any
    """Particle positions in the unit cube [m], shape [N, n, 3]."""
    v: Any
    """Particle velocities [m/s], shape [N, n, 3]."""
    material: str
    E: float = 4e3
    """Young's modulus [Pa]."""
    nu: float = 0.2
    yield_stress: float = 130.0
    """Of ``von_mises`` [Pa]."""
    density: float = 1.0
    """[kg/m^3]"""
    volume: float = (1 / 128) ** 2
    """Of a particle [m^3]."""
    gravity: tuple[float, float, float] = (0.0, 0.0, -90.0)
    """[m/s^2]"""
    cells: int = 48
    """Cells along each axis."""
    dt: float = 5e-5
    """Sub-step [s]."""
    substeps: int = 8

    def __post_init__(self) -> None:
        if self.material not in MATERIALS:
            raise ValueError(f"material {self.material!r} has no peer; choose from {', '.join(MATERIALS)}")


class WarpMpm:
    """The peer on a CPU, in single precision.

    Every array that the adjoint needs is allocated here, so that runs only launch kernels.

    Raises:
        ValueError: for a material without a peer.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        worlds, self._per_world, _ = scene.x.shape
        n, cells, steps = worlds * self._per_world, scene.cells, scene.substeps
        self._arrays: list[Any] = []

        def arrays(shape: Any, dtype: Any, count: int) -> list[Any]:
            made: list[Any] = [wp.zeros(shape, dtype=dtype, device="cpu", requires_grad=True) for _ in range(count)]
            self._arrays += made
            return made

        grid = (worlds, cells, cells, cells)
        self.x, self.v = arrays(n, wp.vec3, steps + 1), arrays(n, wp.vec3, steps + 1)
        self.C, self.F = arrays(n, wp.mat33, steps + 1), arrays(n, wp.mat33, steps + 1)
        self._tau = arrays(n, wp.mat33, steps)
        self._momentum, self._velocity = arrays(grid, wp.vec3, steps), arrays(grid, wp.vec3, steps)
        self._mass = arrays(grid, float, steps)
        self.x[0].assign(np.asarray(scene.x, np.float32).reshape(n, 3))
        self.v[0].assign(np.asarray(scene.v, np.float32).reshape(n, 3))
        self.F[0].assign(np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)))
        self._tape: Any = None

    @property
    def bytes(self) -> int:
        """Of all arrays, their gradients included."""
        return 2 * sum(array.capacity for array in self._arrays)

    def forward(self) -> None:
        """All sub-steps, without recording."""
        self._run()

    def record(self) -> None:
        """All sub-steps, recorded for :meth:`backward`."""
        self._tape = wp.Tape()
        with self._tape:
            self._run()

    def backward(self, gx: Any, gv: Any) -> tuple[Any, Any]:
        """Cotangents of the first positions and velocities from those of the last ones, all of shape [N, n, 3]."""
        grads = {self.x[-1]: _vectors(gx), self.v[-1]: _vectors(gv)}
        self._tape.backward(grads=grads)
        found = tuple(a.grad.numpy().reshape(self.scene.x.shape).copy() for a in (self.x[0], self.v[0]))
        self._tape.zero()
        return found[0], found[1]

    def _run(self) -> None:
        scene, n, cells = self.scene, len(self.x[0]), self.scene.cells
        mu, lam = scene.E / (2 * (1 + scene.nu)), scene.E * scene.nu / ((1 + scene.nu) * (1 - 2 * scene.nu))
        dt, dx, mass = scene.dt, 1 / cells, scene.density * scene.volume
        for k in range(scene.substeps):
            momentum, grid_mass, velocity = self._momentum[k], self._mass[k], self._velocity[k]
            for grid in (momentum, grid_mass, velocity):
                grid.zero_()
            constants = [dt, mu, lam, scene.yield_stress]
            _launch(MATERIALS[scene.material], n, [self.C[k], self.F[k], *constants], [self.F[k + 1], self._tau[k]])
            moved = [self.x[k], self.v[k], self.C[k], self._tau[k], self._per_world, dt, dx, scene.volume, mass]
            _launch(particles_to_grid, n, moved, [momentum, grid_mass])
            _launch(
                grid_velocity, momentum.shape, [momentum, grid_mass, wp.vec3(*scene.gravity), dt, cells], [velocity]
            )
            after = [self.x[k + 1], self.v[k + 1], self.C[k + 1]]
            _launch(grid_to_particles, n, [self.x[k], velocity, self._per_world, dt, dx], after)


def _launch(kernel: Any, dim: Any, inputs: list[Any], outputs: list[Any]) -> None:
    wp.launch(kernel, dim=dim, inputs=inputs, outputs=outputs, device="cpu")


def _vectors(a: Any) -> Any:
    return wp.array(np.asarray(a, np.float32).reshape(-1, 3), dtype=wp.vec3, device="cpu")
