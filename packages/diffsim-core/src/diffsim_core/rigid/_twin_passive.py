"""Gravity compensation and fluid in the twin: plain NumPy, one world, written to be read (formulas as MuJoCo's)."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._twin_algebra import rotation_matrix
from diffsim_core.rigid.fluid import Fluid, FluidShape
from diffsim_core.rigid.model import FloatArray, RigidModel


def passive_wrenches(model: RigidModel, rotation: FloatArray, position: FloatArray, V: FloatArray) -> FloatArray:
    """Wrench ``[nl, 6]`` about the world's origin on every link, by gravity compensation and the fluid.

    Args:
        model: The model.
        rotation: Axes of the links ``[nl, 3, 3]``.
        position: Origins of the links ``[nl, 3]`` [m].
        V: Twists of the links ``[nl, 6]`` about the world's origin.
    """
    wrench = np.zeros((model.nl, 6))
    for i in range(model.nl):
        moment, part = held_weight(model, i, rotation[i], position[i])
        wrench[i] += np.concatenate([np.cross(moment, -model.gravity), -model.gravity * part])
    fluid = model.fluid
    for j, i in enumerate(fluid.link):
        p, R = position[i] + rotation[i] @ fluid.pos[j], rotation[i] @ rotation_matrix(fluid.quat[j])
        omega: FloatArray = R.T @ V[i, :3]
        v: FloatArray = (R.T @ (V[i, 3:] + np.cross(V[i, :3], p) - fluid.wind)).astype(np.float64)
        force_of = box_force if fluid.kind[j] == FluidShape.BOX else ellipsoid_force
        torque, force = force_of(fluid, j, omega, v)
        wrench[i] += np.concatenate([R @ torque + np.cross(p, R @ force), R @ force])
    return wrench


def held_weight(model: RigidModel, i: int, R: FloatArray, x: FloatArray) -> tuple[FloatArray, float]:
    """First moment about the world's origin ``[3]`` [kg m], and mass [kg], of what is held of a link."""
    part = model.link_gravcomp[i]
    moment = part * (x + R @ model.link_com[i]) + R @ model.link_gravcomp_offset[i]
    return model.link_mass[i] * moment, float(model.link_mass[i] * part)


def box_force(fluid: Fluid, j: int, omega: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Torque and force ``[3]`` in a box's own axes: of Stokes on a sphere of its mean side, and quadratic drag."""
    box, d = fluid.size[j], fluid.size[j].mean()
    torque = -np.pi * d**3 * fluid.viscosity * omega
    force = -3 * np.pi * d * fluid.viscosity * v
    for i in range(3):
        a, b, c = np.roll(box, -i)
        force[i] -= 0.5 * fluid.density * b * c * abs(v[i]) * v[i]
        torque[i] -= fluid.density * a * (b**4 + c**4) * abs(omega[i]) * omega[i] / 64
    return torque, force


def ellipsoid_force(fluid: Fluid, j: int, omega: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Torque and force ``[3]`` in an ellipsoid's own axes: drag, lift of Kutta and Magnus, added mass."""
    size, c, density = fluid.size[j], fluid.of_ellipsoid(j), fluid.density
    speed = np.linalg.norm(v)
    d = 2 * size.mean()
    _, middle, high = np.sort(size)
    a, b, e = size
    normal = np.array([b * e, e * a, a * b]) ** 2 * v  # to the section that the stream sees, not of unit length
    along, slope = normal @ v, normal @ normal
    area = np.pi * np.sqrt(slope / along) if along > 0 else 0.0
    cosine = along / (speed * slope) if slope > 0 else 0.0
    momentum, spin = density * c.virtual_mass * v, density * c.virtual_inertia * omega
    volume = 4 / 3 * np.pi * a * b * e
    force = np.cross(momentum, omega)
    force += c.magnus * density * volume * np.cross(omega, v)
    force += c.kutta * density * cosine * area * np.cross(np.cross(normal, v), v)
    quadratic = area * c.blunt + c.slender * (np.pi * high * middle - area)
    force -= (3 * np.pi * d * fluid.viscosity + density * speed * quadratic) * v
    moments = np.array([size[i] * np.delete(size, i).max() ** 4 for i in range(3)]) * 8 / 15 * np.pi
    largest = 8 / 15 * np.pi * middle * high**4
    turning = density * np.linalg.norm((c.angular * moments + c.slender * (largest - moments)) * omega)
    torque = np.cross(momentum, v) + np.cross(spin, omega)
    torque -= (np.pi * d**3 * fluid.viscosity + turning) * omega
    return torque, force
