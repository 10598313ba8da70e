"""Coordinates of a robot as bundles need them: moved along velocities, averaged, and displaced at a contact point."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gradest
from diffsim_core.rigid import JOINTS, GroundContacts, RigidModel

DAMPING = 0.1
"""Of the pseudo-inverse, relative to the root mean square of the Jacobian's rows."""


class Coordinates:
    """Which coordinates are quaternions, and which velocities turn or move them.

    Raises:
        ValueError: a joint has more coordinates than velocities, and no quaternion.
    """

    def __init__(self, model: RigidModel, like: Tensor) -> None:
        """``like``: coordinates, for the number type and the device."""
        self._along = like.new_zeros((model.nv, model.nq))
        self._turns: list[tuple[Tensor, slice]] = []
        for i, kind in enumerate(model.joint_type.tolist()):
            joint, q, v = JOINTS.at(kind), int(model.joint_q[i]), int(model.joint_dof[i])
            if joint.quaternion is None and joint.nq != joint.nv:
                raise ValueError(
                    f"joint {model.joint_name[i]!r} of type {joint.name!r} has {joint.nq} coordinates and {joint.nv} "
                    "velocities, and no quaternion; bundles cannot perturb it"
                )
            moved = joint.nv if joint.quaternion is None else joint.world
            self._along[v : v + moved, q : q + moved] = torch.eye(moved).to(like)
            if joint.quaternion is not None:
                first = q + joint.quaternion
                columns = torch.arange(first, first + 4, device=like.device)
                self._turns.append((columns, slice(v + joint.world, v + joint.world + 3)))

    def moved(self, q: Tensor, by: Tensor) -> Tensor:
        """Coordinates ``[..., nq]`` moved by ``[..., nv]``, velocities times time, as the engine moves them.

        With ``w`` the rotation in the link's axes, ``q + q (0, w) / 2``, normalised.
        """
        after = q + by @ self._along
        for columns, turn in self._turns:
            unit = _unit(q[..., columns])
            after = after.index_copy(-1, columns, _unit(unit + 0.5 * _turned(unit, by[..., turn])))
        return after

    def mean(self, q: Tensor, keep: Tensor) -> Tensor:
        """Mean ``[N, nq]`` over the branches ``q [N, n, nq]`` that are kept ``[N, n]``."""
        mean = gradest.bundle_mean(q, keep)
        for columns, _ in self._turns:
            mean = mean.index_copy(-1, columns, gradest.bundle_mean_quaternion(q[..., columns], keep))
        return mean


def joint_displacements(contacts: GroundContacts, physics: Any, point: Tensor, by: Tensor) -> Tensor:
    """Displacements of the joints ``[N, n, nv]`` that displace a contact point of each world by ``[N, n, 3]``.

    By the damped pseudo-inverse of the point's Jacobian ``J [3, nv]``, ``J^T (J J^T + d^2 I)^-1``: of all changes of
    the joints that move the point so, it is the one with the least sum of squares, and the damping ``d``, ``DAMPING``
    times the root mean square length of the rows of ``J``, bounds it where the joints can hardly move the point.

    Args:
        contacts: the contact points.
        physics: state of ``N`` worlds.
        point: number of a contact point of each world, ``[N]``.
        by: displacements [m], or velocities [m/s], in world axes.
    """
    worlds = len(point)
    q, qd = (x.detach().repeat(3, 1) for x in (physics.q, physics.qd))
    axis = torch.arange(3, device=q.device).repeat_interleave(worlds)
    with torch.enable_grad():
        qd.requires_grad_()
        _, velocity = contacts.motion(physics._replace(q=q, qd=qd))
        chosen = velocity[torch.arange(3 * worlds, device=q.device), point.repeat(3), axis]
        (rows,) = torch.autograd.grad(chosen.sum(), qd)
    J = rows.unflatten(0, (3, worlds)).transpose(0, 1)
    square = J @ J.mT
    tiny = torch.finfo(J.dtype).tiny
    damping = DAMPING**2 * square.diagonal(dim1=-2, dim2=-1).mean(-1) + tiny
    damped = square + damping[:, None, None] * torch.eye(3, dtype=J.dtype, device=J.device)
    return torch.linalg.solve(damped, by.mT).mT @ J


def _unit(q: Tensor) -> Tensor:
    return q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)


def _turned(q: Tensor, w: Tensor) -> Tensor:
    """The product ``q (0, w)`` of quaternions, wxyz."""
    real, u = q[..., :1], q[..., 1:]
    real, u, w = torch.broadcast_tensors(real.expand_as(u), u, w)
    first = -(u * w).sum(-1, keepdim=True)
    return torch.cat([first, real * w + torch.linalg.cross(u, w)], dim=-1)
