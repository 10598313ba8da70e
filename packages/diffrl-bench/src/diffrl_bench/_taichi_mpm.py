"""A second peer of ``diffrl bench mpm``: the same method in plain Taichi, forward.

The scheme and its arrays are those of :mod:`diffrl_bench._warp_mpm`: moving least squares, affine transfers, quadratic
B-splines, a dense grid over the unit cube for every world and sub-step. There is no backward pass: Taichi 1.7.4 does
not differentiate its own singular value decomposition in such a kernel ("auto_diff.cpp: Not supported"), and compiles
the adjoint of the others for minutes. The extra ``mpm-peers`` brings Taichi.
"""

# No postponed annotations here: Taichi reads the kernels' types at definition.
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportInvalidTypeForm=false

import functools
import importlib.util
from typing import Any

import numpy as np

from ._warp_mpm import Scene

MATERIALS = ("fixed_corotated", "neo_hookean")
"""Those of which it has the stress."""
_WALL = 3


def is_installed() -> bool:
    """Whether Taichi can be imported."""
    return importlib.util.find_spec("taichi") is not None


@functools.cache
def _taichi() -> Any:
    import taichi as ti

    ti.init(arch=ti.cpu, cpu_max_num_threads=1, default_fp=ti.f32, offline_cache=True, log_level=ti.ERROR)
    return ti


class TaichiMpm:
    """The peer on one thread of a CPU, in single precision; compiled at the first run of each kernel.

    Raises:
        ValueError: for a material without a peer.
    """

    def __init__(self, scene: Scene) -> None:
        if scene.material not in MATERIALS:
            raise ValueError(f"material {scene.material!r} has no peer in Taichi; choose from {', '.join(MATERIALS)}")
        ti = _taichi()
        self.scene = scene
        self._worlds, self._per_world, _ = scene.x.shape
        n, steps = self._worlds * self._per_world, scene.substeps
        grid = (steps, self._worlds, scene.cells, scene.cells, scene.cells)
        self.x, self.v = (ti.Vector.field(3, ti.f32, shape=(steps + 1, n)) for _ in range(2))
        self.C, self.F = (ti.Matrix.field(3, 3, ti.f32, shape=(steps + 1, n)) for _ in range(2))
        self._tau = ti.Matrix.field(3, 3, ti.f32, shape=(steps, n))
        self._momentum, self._velocity = (ti.Vector.field(3, ti.f32, shape=grid) for _ in range(2))
        self._mass = ti.field(ti.f32, shape=grid)
        self._fields = (self.x, self.v, self.C, self.F, self._tau, self._momentum, self._velocity, self._mass)
        first = np.zeros((steps + 1, n, 3), np.float32), np.zeros((steps + 1, n, 3), np.float32)
        for field, start, array in zip((self.x, self.v), (scene.x, scene.v), first, strict=True):
            array[0] = np.asarray(start, np.float32).reshape(n, 3)
            field.from_numpy(array)
        eye = np.zeros((steps + 1, n, 3, 3), np.float32)
        eye[0] = np.eye(3)
        self.F.from_numpy(eye)
        self._stages = _stages(ti, self)

    @property
    def bytes(self) -> int:
        """Of all fields."""
        numbers = [int(np.prod(f.shape)) * getattr(f, "n", 1) * getattr(f, "m", 1) for f in self._fields]
        return 4 * sum(numbers)

    def forward(self) -> None:
        """All sub-steps."""
        for k in range(self.scene.substeps):
            for clear in self._stages.clear:
                clear(k)
            for stage in self._stages.steps:
                stage(k)


class _Stages:
    def __init__(self, clear: tuple[Any, ...], steps: tuple[Any, ...]) -> None:
        self.clear, self.steps = clear, steps


def _stages(ti: Any, peer: TaichiMpm) -> _Stages:
    scene, per_world = peer.scene, peer._per_world
    x, v, C, F, tau, momentum, velocity, mass = peer._fields
    n, cells, dt, dx = x.shape[1], scene.cells, scene.dt, 1 / scene.cells
    mu, lam = scene.E / (2 * (1 + scene.nu)), scene.E * scene.nu / ((1 + scene.nu) * (1 - 2 * scene.nu))
    volume, each, walls = scene.volume, scene.density * scene.volume, _WALL
    gx, gy, gz = (dt * g for g in scene.gravity)
    rotated = scene.material == "fixed_corotated"

    @ti.func
    def weight(d):
        near = ti.abs(d)
        return ti.select(near < 0.5, 0.75 - d * d, 0.5 * (1.5 - near) * (1.5 - near))

    @ti.kernel
    def stress(k: ti.i32):
        for p in range(n):
            G = (ti.Matrix.identity(ti.f32, 3) + dt * C[k, p]) @ F[k, p]
            F[k + 1, p] = G
            if ti.static(rotated):
                U, _, V = ti.svd(G)
                R = U @ V.transpose()
                J = G.determinant()
                tau[k, p] = 2 * mu * (G - R) @ G.transpose() + ti.Matrix.identity(ti.f32, 3) * (lam * (J - 1) * J)
            else:
                I = ti.Matrix.identity(ti.f32, 3)
                tau[k, p] = mu * (G @ G.transpose() - I) + I * (lam * ti.log(G.determinant()))

    @ti.kernel
    def to_grid(k: ti.i32):
        for p in range(n):
            for i, j, l in ti.ndrange(3, 3, 3):
                at = x[k, p] / dx
                base = ti.cast(at - 0.5, ti.i32)
                away = ti.Vector([i, j, l]) + base - at
                w = weight(away[0]) * weight(away[1]) * weight(away[2])
                affine = each * C[k, p] - (dt * volume * 4 / dx / dx) * tau[k, p]
                node = k, p // per_world, base[0] + i, base[1] + j, base[2] + l
                momentum[node] += w * (each * v[k, p] + affine @ away * dx)
                mass[node] += w * each

    @ti.kernel
    def on_grid(k: ti.i32):
        for world, i, j, l in ti.ndrange(momentum.shape[1], cells, cells, cells):
            if mass[k, world, i, j, l] > 1e-15:
                u = momentum[k, world, i, j, l] / mass[k, world, i, j, l] + ti.Vector([gx, gy, gz])
                a = ti.select((i < walls and u[0] < 0) or (i > cells - walls and u[0] > 0), 0.0, u[0])
                b = ti.select((j < walls and u[1] < 0) or (j > cells - walls and u[1] > 0), 0.0, u[1])
                c = ti.select((l < walls and u[2] < 0) or (l > cells - walls and u[2] > 0), 0.0, u[2])
                velocity[k, world, i, j, l] = ti.Vector([a, b, c])

    @ti.kernel
    def to_particles(k: ti.i32):
        for p in range(n):
            for i, j, l in ti.ndrange(3, 3, 3):
                at = x[k, p] / dx
                base = ti.cast(at - 0.5, ti.i32)
                away = ti.Vector([i, j, l]) + base - at
                w = weight(away[0]) * weight(away[1]) * weight(away[2])
                moved = w * velocity[k, p // per_world, base[0] + i, base[1] + j, base[2] + l]
                v[k + 1, p] += moved
                C[k + 1, p] += (4 / dx) * moved.outer_product(away)

    @ti.kernel
    def move(k: ti.i32):
        for p in range(n):
            x[k + 1, p] = x[k, p] + dt * v[k + 1, p]

    @ti.kernel
    def clear_grid(k: ti.i32):
        for world, i, j, l in ti.ndrange(momentum.shape[1], cells, cells, cells):
            momentum[k, world, i, j, l] = ti.Vector([0.0, 0.0, 0.0])
            velocity[k, world, i, j, l] = ti.Vector([0.0, 0.0, 0.0])
            mass[k, world, i, j, l] = 0.0

    @ti.kernel
    def clear_particles(k: ti.i32):
        for p in range(n):
            v[k + 1, p] = ti.Vector([0.0, 0.0, 0.0])
            C[k + 1, p] = ti.Matrix.zero(ti.f32, 3, 3)

    return _Stages((clear_grid, clear_particles), (stress, to_grid, on_grid, to_particles, move))
