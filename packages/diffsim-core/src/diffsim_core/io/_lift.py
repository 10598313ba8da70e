"""Robots that the loader makes floating, lifted out of the ground: their files say nothing of where they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_contact import ground_contact

_WALL = 0.1
"""Upward part of a plane's normal below which it is a wall, out of which nothing can be lifted."""


def lifted(model: RigidModel, roots: Collection[int]) -> RigidModel:
    """The model with ``q_ref`` of free roots raised until no shape that they carry is inside the ground.

    Args:
        model: before its joints are coupled.
        roots: links with free joints, that may be lifted.
    """
    if not roots:
        return model
    kin = twin.kinematics(model, model.q_ref)
    of = np.arange(model.nl)
    for i, parent in enumerate(model.link_parent):
        of[i] = of[parent] if parent >= 0 else i
    q_ref = np.array(model.q_ref)
    for root in roots:
        rise = 0.0
        for c in np.flatnonzero(of[model.contact_link] == root):
            i = int(model.contact_link[c])
            contact = ground_contact(model, int(c), kin.rotation[i], kin.position[i])
            if contact.n[2] > _WALL:
                rise = max(rise, -contact.d / float(contact.n[2]))
        q_ref[model.joint_q[root] + 2] += rise
    return replace(model, q_ref=q_ref)
