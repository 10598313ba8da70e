"""Kernels of :mod:`diffrl_bench._warp_mpm`: a stage of the material point method each, in plain Warp."""

# No postponed annotations here: Warp reads the kernels' types at definition.
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportGeneralTypeIssues=false, reportReturnType=false

from typing import Any

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
"""Kernels of stress and plastic flow, by the names that diffsim-mpm has for the materials."""
