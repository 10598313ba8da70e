"""``GroundContacts``: normal forces of level ground on each contact point of a robot, and how these points move."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffsim_core._interop import to_numpy
from diffsim_core._protocol import Array, PyTree
from diffsim_core._remade import Remade
from diffsim_core.rigid._pack_contact import plain_points
from diffsim_core.rigid.contact_laws import normal_forces
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import FloatArray, Site
from diffsim_core.rigid.parameters import Parameters
from diffsim_core.rigid.sensors import Sensors

_GAINS = ("contact_kn", "contact_kd", "contact_kt", "contact_mu")


class GroundContacts(Remade):
    """The contact points of a robot over level ground: spheres and corners.

    Contacts of two bodies with each other, of ellipsoids, with planes of their own and with height fields are not
    among them.

    Args:
        dynamics: the simulator.

    Raises:
        ValueError: no point of the model touches level ground.
    """

    def __init__(self, dynamics: RigidDynamics) -> None:
        model = dynamics.model
        points = plain_points(model)
        if not len(points):
            raise ValueError(f"model {model.name!r} has no shape that touches level ground")
        self.links: np.ndarray[Any, Any] = np.asarray(model.contact_link)[points]
        """Link of each point, ``[nc]``."""
        self._radius = np.asarray(model.contact_radius)[points]
        self._law, self._width = model.contact_law, model.contact_smoothing
        self._ground = float(model.ground_height)
        self._gains = np.stack([np.asarray(getattr(model, name))[points] for name in _GAINS], axis=1)
        geoms = np.asarray(model.contact_geom)[points]
        inputs = [name.split(":", 1) for name in dynamics.parameters.names]
        self._inputs = [
            (column, np.flatnonzero(geoms == label), _GAINS.index(kind))
            for column, (kind, label) in enumerate(inputs)
            if kind in _GAINS
        ]
        upright = np.array([1.0, 0, 0, 0])
        sites = tuple(
            Site(name=f"contact {k}", link=int(model.contact_link[c]), pos=model.contact_pos[c], quat=upright)
            for k, c in enumerate(points)
        )
        sited = dataclasses.replace(model, sites=sites)
        # What sensors read of a simulator, which would have to be compiled for the same.
        marked: Any = SimpleNamespace(
            model=sited,
            device=dynamics.device,
            dtype=dynamics.dtype,
            dt=dynamics.dt,
            parameters=Parameters(sited, ()),
            backward_smoothing=dynamics.backward_smoothing,
        )
        names = [f"{kind}:site/{site.name}" for kind in ("position", "velocity") for site in sites]
        self._read = Sensors(marked, names)

    def motion(self, physics: PyTree) -> tuple[Array, Array]:
        """Positions [m] and velocities [m/s] of the points in world axes, each ``[N, nc, 3]``, differentiable.

        They are those of the centre, for a sphere of the contact's radius about it.
        """
        values = self._read(physics).reshape((-1, 2, len(self.links), 3))
        return values[:, 0], values[:, 1]

    def forces(self, physics: PyTree, constants: PyTree = ()) -> FloatArray:
        """Normal force [N] on each point of each world, NumPy numbers ``[N, nc]`` without gradient.

        Args:
            physics: a state with ``q`` and ``qd``.
            constants: the simulator's constants in it, where it has any.
        """
        position, velocity = (to_numpy(x[..., 2]).astype(np.float64) for x in self.motion(physics))
        depth = self._depth(position - self._radius - self._ground)
        force = np.zeros(depth.shape)
        touching = depth < 0
        if touching.any():
            gains = self._gains_of(constants, len(depth))[touching]
            force[touching] = normal_forces(self._law, gains, depth[touching], velocity[touching])
        return force

    def _depth(self, distance: FloatArray) -> FloatArray:
        """See ``twin_contact.inside_depth``."""
        inside = np.minimum(distance, 0.0)
        if not self._width:
            return inside
        smooth = -((self._width - distance) ** 2) / (4 * self._width)
        return np.where(np.abs(distance) < self._width, smooth, inside)

    def _gains_of(self, constants: PyTree, worlds: int) -> FloatArray:
        """``[N, nc, 4]``"""
        gains = np.broadcast_to(self._gains, (worlds, *self._gains.shape))
        if not self._inputs:
            return gains
        gains, params = gains.copy(), to_numpy(constants.params)
        for column, points, gain in self._inputs:
            gains[:, points, gain] = params[:, column, None]
        return gains
