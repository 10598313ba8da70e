"""Robots that the loader makes floating, lifted out of the ground: their files say nothing of where they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from diffsim_core.io._trees import roots
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_contact import ground_contact

_WALL = 0.1
"""Upward part of a plane's normal below which it is a wall, out of which nothing can be lifted."""


def lifted(model: RigidModel, free: Collection[int]) -> RigidModel:
    """The model with ``q_ref`` of free roots raised until no shape that they carry is inside the ground.

    Args:
        model: before its joints are coupled.
        free: links with free joints, that may be lifted.
    """
    if not free:
        return model
    kin = twin.kinematics(model, model.q_ref)
    tree = np.array(roots(model.link_parent))
    q_ref = np.array(model.q_ref)
    for root in free:
        rise = 0.0
        for c in np.flatnonzero(tree[model.contact_link] == root):
            i = int(model.contact_link[c])
            contact = ground_contact(model, int(c), kin.rotation[i], kin.position[i])
            if contact.n[2] > _WALL:
                rise = max(rise, -contact.d / float(contact.n[2]))
        q_ref[model.joint_q[root] + 2] += rise
    return replace(model, q_ref=q_ref)
