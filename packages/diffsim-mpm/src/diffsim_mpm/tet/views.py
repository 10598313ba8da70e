"""What viewers show of tetrahedra: their surface, as a motion for the core's pages and videos."""

from __future__ import annotations

import numpy as np

from diffsim_core.viewer import Deformable, Footage, Motion, Shape
from diffsim_mpm.tet.mesh import Numbers
from diffsim_mpm.tet.model import TetModel, rest_shapes

_COLOUR = (0.85, 0.55, 0.35)


def motion_of(model: TetModel, footage: Footage, *, name: str, dt: float) -> Motion:
    """The motion of a rollout on :class:`diffsim_mpm.tet.TetDynamics`.

    Viewers can colour the surface by two shades: ``strain``, the size of Green's strain, and ``activation``, the action
    on the tetrahedra; a node has the mean over the tetrahedra around it, weighted by their volumes.

    Args:
        model: whose states they are.
        footage: states ``[T, N, ...]`` and what belongs to them.
        name: of the task.
        dt: time between frames [s].
    """
    x = np.asarray(footage.physics.x)
    T, N = x.shape[:2]
    shades = {"strain": around_nodes(model, _strain(model, x))}
    if np.shape(footage.action)[2:] == (model.num_controls,) and model.num_controls:
        actuators = np.asarray(model.actuators)
        act = np.where(actuators >= 0, np.asarray(footage.action)[:, :, actuators], 0.0)
        shades["activation"] = around_nodes(model, act)
    body = Deformable(
        name=name,
        position=x,
        rgb=np.array(_COLOUR),
        triangles=model.surface,
        shades=shades,
        radius=model.contact.radius,
    )
    floor = Shape(
        name="ground", type="plane", body=-1, pos=(0.0, 0.0, model.ground or 0.0), quat=(1.0, 0.0, 0.0, 0.0),
        size=(0.0, 0.0, 1.0), rgba=(0.9, 0.9, 0.9, 1.0),
    )  # fmt: skip
    return Motion(
        name=name,
        dt=dt,
        bodies=(),
        shapes=() if model.ground is None else (floor,),
        position=np.zeros((T, N, 0, 3)),
        quaternion=np.zeros((T, N, 0, 4)),
        begins=footage.begins,
        curves=dict(footage.curves),
        deformables=(body,),
    )


def around_nodes(model: TetModel, values: Numbers) -> Numbers:
    """Means ``[..., n]`` over the tetrahedra around each node of ``values [..., m]``, weighted by volume."""
    mesh = model.mesh
    share = np.zeros((mesh.num_tets, mesh.num_nodes), dtype=np.float32)
    np.add.at(share, (np.arange(mesh.num_tets)[:, None], mesh.tets), mesh.volumes[:, None])
    return values.astype(np.float32) @ (share / share.sum(axis=0))


def _strain(model: TetModel, x: Numbers) -> Numbers:
    """Size of Green's strain of each tetrahedron ``[..., m]``."""
    corner = x[..., model.mesh.tets, :]
    F = np.swapaxes(corner[..., 1:, :] - corner[..., :1, :], -1, -2) @ rest_shapes(model.mesh).astype(x.dtype)
    green = 0.5 * (np.swapaxes(F, -1, -2) @ F - np.eye(3, dtype=x.dtype))
    return np.sqrt((green**2).sum(axis=(-2, -1)))
