"""``Muscles`` as flat arrays (columns: ``_source/muscle_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel


def pack_muscles(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals; segments within a link only lengthen their unit by a constant, which is worked out here."""
    muscles = model.muscles
    reference = reference_points(model)
    units = np.zeros((muscles.n, 4), np.int64)
    constants = np.zeros((muscles.n, 13))
    links, reals = [], []
    for i in range(muscles.n):
        first, slack = len(links), 0.0
        for s in muscles.segments(i):
            (a, b), (pos_a, pos_b) = muscles.segment_link[s], muscles.segment_pos[s]
            scale = muscles.segment_scale[s]
            if a == b:
                slack += scale * float(np.linalg.norm(pos_b - pos_a))
                continue
            links.append((a, b, reference[a] != reference[b]))
            reals.append((*pos_a, *pos_b, scale))
        units[i] = muscles.control[i], first, len(links) - first, muscles.activation[i]
        constants[i, :2] = muscles.gear[i], slack
        if muscles.activation[i] >= 0:
            h = muscles.constants(i)
            optimal = (h.length_high - h.length_low) / (h.range_high - h.range_low)
            constants[i, 2:] = (
                h.range_low - h.length_low / optimal,
                muscles.gear[i] / optimal,
                muscles.gear[i] / (optimal * h.vmax),
                *(h.force, h.lmin, h.lmax, h.fvmax, h.fpmax, h.tau_act, h.tau_deact, h.tau_smooth),
            )
    header = [muscles.n, muscles.na, any(link[2] for link in links), 0]
    integers = np.concatenate([header, units.ravel(), np.array(links, dtype=np.int64).ravel()])
    return integers, np.concatenate([constants.ravel(), np.array(reals, dtype=np.float64).ravel()])


def reference_points(model: RigidModel) -> dict[int, int]:
    """For each link the link whose origin its places are relative to, -1 for the world's (``kinematics.h``)."""
    reference, slides = {-1: -1}, {-1: True}
    for i in range(model.nl):
        parent, joint = int(model.link_parent[i]), JOINTS.at(int(model.joint_type[i]))
        slides[i] = joint.translates and slides[parent]
        reference[i] = i if joint.world or slides[i] or parent < 0 else reference[parent]
    return reference
