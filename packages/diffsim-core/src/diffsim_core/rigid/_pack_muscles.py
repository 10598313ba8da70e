"""``Muscles`` and ``Tendons`` as flat arrays (columns: ``_source/muscle_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.paths import NO_SIDE, Paths

DIRECT, HILL, AFFINE, PASSIVE = range(4)
"""The laws of a unit's force."""
_CONSTANTS, _WRENCH, _COLUMNS = 2, 13, 19


def pack_muscles(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals; segments within a link only lengthen their unit by a constant, which is worked out here."""
    muscles, tendons = model.muscles, model.tendons
    units, constants = np.zeros((muscles.n + tendons.n, 10), np.int64), np.zeros((muscles.n + tendons.n, _COLUMNS))
    tables = _Parts(model)
    for i in range(muscles.n):
        law = HILL if muscles.activation[i] >= 0 else DIRECT
        first, count, slack, term, terms = tables.add(muscles, i)
        units[i] = muscles.control[i], first, count, muscles.activation[i], law, 0, term, terms, -1, 0
        constants[i, :_CONSTANTS] = muscles.gear[i], slack
        if law == HILL:
            h = muscles.constants(i)
            optimal = (h.length_high - h.length_low) / (h.range_high - h.range_low)
            constants[i, _CONSTANTS:_WRENCH] = (
                h.range_low - h.length_low / optimal,
                muscles.gear[i] / optimal,
                muscles.gear[i] / (optimal * h.vmax),
                *(h.force, h.lmin, h.lmax, h.fvmax, h.fpmax, h.tau_act, h.tau_deact, h.tau_smooth),
            )
    for k in range(tendons.n):
        i = muscles.n + k
        control, act, site = tendons.control[k], tendons.activation[k], tendons.site_link[k]
        first, count, slack, term, terms = tables.add(tendons, k)
        law = PASSIVE if control < 0 else AFFINE
        numbers = tendons.passive[k] if law == PASSIVE else tendons.affine[k]
        units[i] = control, first, count, act, law, tendons.dynamics[k], term, terms, site, tendons.sums[k]
        constants[i, 1] = slack
        constants[i, _CONSTANTS : _CONSTANTS + len(numbers)] = numbers
        constants[i, _WRENCH:] = tendons.site_wrench[k]
    apart = any(link[2] for link in tables.links) or any(wrap[3] for wrap in tables.wraps)
    header = [len(units), model.na, apart, len(tables.links), len(tables.wraps)]
    tables_of_integers = (header, units, tables.links, tables.wraps, tables.terms)
    integers = [np.asarray(x, dtype=np.int64).ravel() for x in tables_of_integers]
    tables_of_reals = (constants, tables.reals, tables.shapes, tables.scales)
    reals = [np.asarray(x, dtype=np.float64).ravel() for x in tables_of_reals]
    return np.concatenate(integers), np.concatenate(reals)


class _Parts:
    """The tables of segments and terms as they fill."""

    def __init__(self, model: RigidModel) -> None:
        self._model = model
        self._reference = reference_points(model)
        self.links: list[tuple[Any, ...]] = []
        self.reals: list[tuple[Any, ...]] = []
        self.wraps: list[tuple[int, ...]] = []
        self.shapes: list[tuple[Any, ...]] = []
        self.terms: list[tuple[int, int]] = []
        self.scales: list[float] = []

    def add(self, paths: Paths, unit: int) -> tuple[int, int, float, int, int]:
        """First segment and their number, constant length, first term and their number of a unit."""
        first, slack, term = len(self.links), 0.0, len(self.terms)
        for s in paths.segments(unit):
            (a, b), (pos_a, pos_b) = paths.segment_link[s], paths.segment_pos[s]
            scale = paths.segment_scale[s]
            wrap = int(paths.segment_wrap[s])
            if wrap >= 0:
                self._add_wrap(paths, wrap, int(a), int(b))
                wrap = len(self.wraps) - 1
            elif a == b:
                slack += scale * float(np.linalg.norm(pos_b - pos_a))
                continue
            self.links.append((a, b, self._reference[a] != self._reference[b], wrap))
            self.reals.append((*pos_a, *pos_b, scale))
        scales: dict[int, float] = {}
        for t in paths.terms(unit):
            joint = int(paths.term_joint[t])
            scales[joint] = scales.get(joint, 0.0) + float(paths.term_scale[t])
        for joint in sorted(scales, key=lambda i: int(self._model.joint_dof[i])):
            self.terms.append((int(self._model.joint_q[joint]), int(self._model.joint_dof[joint])))
            self.scales.append(scales[joint])
        return first, len(self.links) - first, slack, term, len(self.terms) - term

    def _add_wrap(self, paths: Paths, w: int, *ends: int) -> None:
        link, side = int(paths.wrap_link[w]), int(paths.wrap_side_link[w])
        links = {link, *ends} | ({side} if side != NO_SIDE else set())
        apart = len({self._reference[i] for i in links}) > 1
        self.wraps.append((int(paths.wrap_kind[w]), link, side, apart))
        shape = (*paths.wrap_pos[w], *paths.wrap_axis[w], paths.wrap_radius[w], *paths.wrap_side_pos[w])
        self.shapes.append(shape)


def reference_points(model: RigidModel) -> dict[int, int]:
    """For each link the link whose origin its places are relative to, -1 for the world's (``kinematics.h``)."""
    reference, slides = {-1: -1}, {-1: True}
    for i in range(model.nl):
        parent, joint = int(model.link_parent[i]), JOINTS.at(int(model.joint_type[i]))
        slides[i] = joint.translates and slides[parent]
        reference[i] = i if joint.world or slides[i] or parent < 0 else reference[parent]
    return reference
