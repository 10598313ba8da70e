"""Contact forces along a motion: the NumPy twin's contact law at the poses from the sensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffsim_core.rigid import twin_contact
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import Body, FloatArray, IntArray, RigidModel
from diffsim_core.rigid.twin_contact import Contact
from diffsim_core.rigid.twin_pairs import pair_contacts
from diffsim_core.viewer._motion import Contacts

_EVEN: FloatArray = np.eye(3)


class _Links:
    """Poses and velocities of the links in every frame and world, ``[F, ...]`` with F = T N."""

    def __init__(self, carriers: Mapping[int, Body], pose: FloatArray) -> None:
        self.frames = pose.shape[0] * pose.shape[1]
        self._of: dict[int, tuple[FloatArray, ...]] = {}
        for k, (link, body) in enumerate(carriers.items()):
            x, quat, v, spin = np.split(pose[:, :, k].reshape(self.frames, 13), [3, 7, 10], axis=1)
            body_axes = np.moveaxis(rotation((quat / np.linalg.norm(quat, axis=1, keepdims=True)).T), -1, 0)
            axes = body_axes @ rotation(body.quat / np.linalg.norm(body.quat)).T
            self._of[link] = axes, x - axes @ body.pos, x, v, spin

    def pose(self, link: int, frame: int) -> tuple[FloatArray, FloatArray]:
        """Axes ``[3, 3]`` and origin ``[3]``."""
        if link < 0:
            return np.eye(3), np.zeros(3)
        return self._of[link][0][frame], self._of[link][1][frame]

    def points(self, link: int, pos: FloatArray) -> FloatArray:
        """A point of the link in world axes, ``[F, 3]``."""
        if link < 0:
            return np.broadcast_to(pos, (self.frames, 3))
        axes, origin = self._of[link][:2]
        return origin + axes @ pos

    def velocity(self, link: int, frame: int, point: FloatArray) -> FloatArray:
        """Velocity of the link's material at a point in world axes, ``[3]``."""
        if link < 0:
            return np.zeros(3)
        _, _, x, v, spin = self._of[link]
        return v[frame] + np.cross(spin[frame], point - x[frame])


def contacts_of(model: RigidModel, carriers: Mapping[int, Body], pose: FloatArray) -> Contacts:
    """Contacts of shapes with the ground and with each other, with the force on the first shape if it is not zero.

    Args:
        model: the articulated system.
        carriers: the body of each link in ``pose``.
        pose: ``[T, N, nb, 13]`` position, quaternion, velocity and angular velocity in world axes.
    """
    links = _Links(carriers, pose)
    rows: list[tuple[int, FloatArray, FloatArray]] = []

    def add(
        frame: int,
        contact: Contact,
        pair: tuple[int, int],
        gains: tuple[float, float, float, float],
        part: float = 1.0,
        even: FloatArray = _EVEN,
    ) -> None:
        a, b = (links.velocity(link, frame, contact.x) for link in pair)
        u = even @ (a - b)
        law, width = model.contact_law, model.contact_smoothing
        force = part * even @ twin_contact.contact_force(law, width, gains, contact, u)
        if force.any():
            rows.append((frame, contact.x, force))

    for c, link in enumerate(map(int, model.contact_link)):
        gains = model.contact_kn[c], model.contact_kd[c], model.contact_kt[c], model.contact_mu[c]
        even = twin_contact.shortening(model, c)
        for frame in _near_ground(model, links, c):
            contact = twin_contact.ground_contact(model, c, *links.pose(link, frame))
            add(frame, contact, (link, -1), gains, even=even)
    pairs = model.pairs
    for p, (first, second) in enumerate(pairs.link.tolist()):
        gains = pairs.kn[p], pairs.kd[p], pairs.kt[p], pairs.mu[p]
        for frame in _near_each_other(model, links, p):
            poses = links.pose(first, frame), links.pose(second, frame)
            for part, contact in pair_contacts(pairs, p, poses, model.contact_smoothing):
                add(frame, contact, (first, second), gains, part)
    if not rows:
        return Contacts()
    rows.sort(key=lambda row: row[0])
    frames, points, forces = (np.array(column) for column in zip(*rows, strict=True))
    return Contacts(
        frame=frames // pose.shape[1],
        world=frames % pose.shape[1],
        point=points.astype(np.float32),
        force=forces.astype(np.float32),
    )


def _near_ground(model: RigidModel, links: _Links, c: int) -> list[int]:
    """Frames in which contact point ``c`` may touch its plane or the ground; all frames on uneven ground."""
    plane = int(model.contact_plane[c])
    if model.ground_field is not None and plane < 0:
        return list(range(links.frames))
    reach = model.contact_radius[c] + np.max(model.contact_size[c]) + model.contact_smoothing
    level = np.array([0, 0, 1.0, model.ground_height])
    *normal, distance = level if plane < 0 else model.ground_planes[plane]
    places = links.points(int(model.contact_link[c]), model.contact_pos[c])
    return _where(places @ np.array(normal) - reach < distance)


def _near_each_other(model: RigidModel, links: _Links, p: int) -> list[int]:
    """Frames in which the bounding spheres of pair ``p`` overlap."""
    pairs = model.pairs
    a, b = (links.points(pairs.solids[s].link, pairs.solids[s].centre) for s in pairs.solid[p])
    return _where(np.linalg.norm(a - b, axis=1) < pairs.reach[p] + model.contact_smoothing)


def _where(mask: IntArray) -> list[int]:
    return np.flatnonzero(mask).tolist()
