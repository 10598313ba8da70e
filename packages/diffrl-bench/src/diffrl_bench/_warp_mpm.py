"""The peer of ``diffrl bench mpm``: the same material point method in plain Warp, with Warp's automatic adjoint.

Moving least squares, affine transfers, quadratic B-splines, and a dense grid over the unit cube for every world, with
free-slip walls three cells from its faces. It is written as Warp's documentation suggests: a kernel for each stage, one
launch for all worlds, recorded by ``wp.Tape``. Each sub-step has a grid of its own, because the adjoint reads it. There
is one singular value decomposition in a sub-step (``wp.svd3``); the released Rewarped takes two for plasticine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

wp.set_module_options({"enable_backward": True, "fast_math": False})

WALL = wp.constant(3)
"""Cells between a face of the cube and its wall."""


@wp.func
def weights(fx: wp.vec3) -> wp.mat33:
    """Of the three nodes along each axis, by rows."""
    a = wp.vec3(1.5) - fx
    b = fx - wp.vec3(1.0)
    c = fx - wp.vec3(0.5)
    return wp.matrix_from_rows(0.5 * wp.cw_mul(a, a), wp.vec3(0.75) - wp.cw_mul(b, b), 0.5 * wp.cw_mul(c, c))


@wp.kernel(module="unique")
def fixed_corotated(
    C: wp.array[wp.mat33],
    F: wp.array[wp.mat33],
    dt: float,
    mu: float,
    lam: float,
    limit: float,
    F_out: wp.array[wp.mat33],
    tau: wp.array[wp.mat33],
):
    p = wp.tid()
    I = wp.identity(n=3, dtype=float)
    G = (I + dt * C[p]) * F[p]
    U = wp.mat33()
    s = wp.vec3()
    V = wp.mat33()
    wp.svd3(G, U, s, V)
    flip = wp.diag(wp.vec3(1.0, 1.0, wp.sign(wp.determinant(U) * wp.determinant(V))))
    R = U * flip * wp.transpose(V)
    J = wp.determinant(G)
    F_out[p] = G
    tau[p] = 2.0 * mu * (G - R) * wp.transpose(G) + lam * (J - 1.0) * J * I


@wp.kernel(module="unique")
def neo_hookean(
    C: wp.array[wp.mat33],
    F: wp.array[wp.mat33],
    dt: float,
    mu: float,
    lam: float,
    limit: float,
    F_out: wp.array[wp.mat33],
    tau: wp.array[wp.mat33],
):
    p = wp.tid()
    I = wp.identity(n=3, dtype=float)
    G = (I + dt * C[p]) * F[p]
    F_out[p] = G
    tau[p] = mu * (G * wp.transpose(G) - I) + lam * wp.log(wp.determinant(G)) * I


@wp.kernel(module="unique")
def von_mises(
    C: wp.array[wp.mat33],
    F: wp.array[wp.mat33],
    dt: float,
    mu: float,
    lam: float,
    limit: float,
    F_out: wp.array[wp.mat33],
    tau: wp.array[wp.mat33],
):
    p = wp.tid()
    I = wp.identity(n=3, dtype=float)
    G = (I + dt * C[p]) * F[p]
    U = wp.mat33()
    s = wp.vec3()
    V = wp.mat33()
    wp.svd3(G, U, s, V)
    e = wp.vec3(wp.log(wp.max(s[0], 0.01)), wp.log(wp.max(s[1], 0.01)), wp.log(wp.max(s[2], 0.01)))
    mean = (e[0] + e[1] + e[2]) / 3.0
    d = e - wp.vec3(mean)
    norm = wp.length(d)
    if norm > limit / (2.0 * mu):
        e = wp.vec3(mean) + d * (limit / (2.0 * mu * norm))
        F_out[p] = U * wp.diag(wp.vec3(wp.exp(e[0]), wp.exp(e[1]), wp.exp(e[2]))) * wp.transpose(V)
    else:
        F_out[p] = G
    t = 2.0 * mu * e + wp.vec3(lam * 3.0 * mean)
    tau[p] = U * wp.diag(t) * wp.transpose(U)


@wp.kernel
def particles_to_grid(
    x: wp.array[wp.vec3],
    v: wp.array[wp.vec3],
    C: wp.array[wp.mat33],
    tau: wp.array[wp.mat33],
    per_world: int,
    dt: float,
    dx: float,
    volume: float,
    mass: float,
    momentum: wp.array4d[wp.vec3],
    grid_mass: wp.array4d[float],
):
    p = wp.tid()
    world = p // per_world
    at = x[p] / dx
    base = wp.vec3i(int(at[0] - 0.5), int(at[1] - 0.5), int(at[2] - 0.5))
    fx = at - wp.vec3(float(base[0]), float(base[1]), float(base[2]))
    w = weights(fx)
    affine = mass * C[p] - (dt * volume * 4.0 / (dx * dx)) * tau[p]
    for i in range(3):
        for j in range(3):
            for k in range(3):
                away = (wp.vec3(float(i), float(j), float(k)) - fx) * dx
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                moved = weight * (mass * v[p] + affine * away)
                wp.atomic_add(momentum, world, base[0] + i, base[1] + j, base[2] + k, moved)
                wp.atomic_add(grid_mass, world, base[0] + i, base[1] + j, base[2] + k, weight * mass)


@wp.kernel
def grid_velocity(
    momentum: wp.array4d[wp.vec3],
    grid_mass: wp.array4d[float],
    gravity: wp.vec3,
    dt: float,
    cells: int,
    velocity: wp.array4d[wp.vec3],
):
    world, i, j, k = wp.tid()
    m = grid_mass[world, i, j, k]
    if m > 1.0e-15:
        u = momentum[world, i, j, k] / m + gravity * dt
        a, b, c = u[0], u[1], u[2]
        if (i < WALL and a < 0.0) or (i > cells - WALL and a > 0.0):
            a = 0.0
        if (j < WALL and b < 0.0) or (j > cells - WALL and b > 0.0):
            b = 0.0
        if (k < WALL and c < 0.0) or (k > cells - WALL and c > 0.0):
            c = 0.0
        velocity[world, i, j, k] = wp.vec3(a, b, c)


@wp.kernel
def grid_to_particles(
    x: wp.array[wp.vec3],
    velocity: wp.array4d[wp.vec3],
    per_world: int,
    dt: float,
    dx: float,
    x_out: wp.array[wp.vec3],
    v_out: wp.array[wp.vec3],
    C_out: wp.array[wp.mat33],
):
    p = wp.tid()
    world = p // per_world
    at = x[p] / dx
    base = wp.vec3i(int(at[0] - 0.5), int(at[1] - 0.5), int(at[2] - 0.5))
    fx = at - wp.vec3(float(base[0]), float(base[1]), float(base[2]))
    w = weights(fx)
    u = wp.vec3(0.0)
    B = wp.mat33(0.0)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                away = wp.vec3(float(i), float(j), float(k)) - fx
                weighted = w[i, 0] * w[j, 1] * w[k, 2] * velocity[world, base[0] + i, base[1] + j, base[2] + k]
                u += weighted
                B += wp.outer(weighted, away)
    v_out[p] = u
    C_out[p] = (4.0 / dx) * B
    x_out[p] = x[p] + dt * u


MATERIALS: dict[str, Any] = {"fixed_corotated": fixed_corotated, "neo_hookean": neo_hookean, "von_mises": von_mises}
"""Their kernels, by the names that diffsim-mpm has for them."""


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
