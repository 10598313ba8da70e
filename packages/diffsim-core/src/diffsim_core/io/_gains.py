"""Default gains of contact and joint limits, scaled by what moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from diffsim_core.io._initial_pose import factored, mobility
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._solref import Gains as Gains
from diffsim_core.io._solref import solref_limits
from diffsim_core.io._trees import roots
from diffsim_core.io.params import LIMIT_RATE, PAIR_RATE, SINK_DEPTH, ContactParams, LimitParams
from diffsim_core.rigid.model import FloatArray, Geom, IntArray


class Link(Protocol):
    """What this module reads of a link on its way to the model."""

    @property
    def parent(self) -> int: ...

    @property
    def mass(self) -> float: ...

    @property
    def joint(self) -> int: ...


def contact_gains(
    m: Any, links: Sequence[Link], geoms: Mapping[int, Geom], contact: ContactParams
) -> Callable[[Geom], Gains]:
    """kn, kd and kt of a shape, see ``ContactParams``."""
    root = roots([link.parent for link in links])
    tree_mass = {r: sum(link.mass for i, link in enumerate(links) if root[i] == r) for r in set(root)}
    reach = _reaches(m, geoms, root)
    g_norm = float(np.linalg.norm(m.opt.gravity)) or 9.81

    def gains(shape: Geom) -> Gains:
        tree = root[shape.link]
        weight = tree_mass[tree] * g_norm
        depth = min(SINK_DEPTH, 0.0125 * reach[tree], 0.125 * half_width(shape))
        kn = contact.kn if contact.kn is not None else weight / (4 * depth)
        # damps as much of a bounce whatever the depth
        kd = contact.kd if contact.kd is not None else 0.25 * kn * np.sqrt(SINK_DEPTH / depth)
        kt = contact.kt
        if kt is None:
            kt = 0.2 * (kn if contact.kn is not None else weight / (4 * SINK_DEPTH))
        return kn, float(kd), kt

    return gains


def pair_gains(
    m: Any,
    links: Sequence[Link],
    geoms: Mapping[int, Geom],
    contact: ContactParams,
    found: Sequence[tuple[int, int]],
) -> Callable[[Geom, Geom], Gains]:
    """kn, kd and kt of two shapes that touch each other, see ``ContactParams``.

    The default carries the lighter of two trees at the depth that the ground has under four points. It is stiffer
    where the other one is heavier, which may rest on it or hold it: by the root of their ratio. A fixed obstacle counts
    as the heaviest tree if some of the pairs ``found`` are of two trees. Within a tree it is the lighter of the two
    branches, or a tenth of the tree: motors press harder than a light branch weighs. It is no stiffer than sub-steps of
    1 ms bear at the two shapes' own inertias, as contact between bodies is explicit.
    """
    gives = _mobilities(m, [link.joint for link in links]) if found else []
    root = roots([link.parent for link in links])
    own = [link.mass for link in links]
    branch = list(own)
    for i in reversed(range(len(links))):
        if links[i].parent >= 0:
            branch[links[i].parent] += branch[i]
    reach = _reaches(m, geoms, root)
    g_norm = float(np.linalg.norm(m.opt.gravity)) or 9.81

    together = [[root[geoms[g].link] for g in pair if geoms[g].link >= 0] for pair in found]
    heaviest = max((branch[tree] for trees in together if len(set(trees)) == 2 for tree in trees), default=0.0)

    def masses(moving: Sequence[int]) -> tuple[float, float]:
        trees = [branch[root[link]] for link in moving]
        if len(moving) == 1:
            return trees[0], max(heaviest, trees[0])
        if root[moving[0]] != root[moving[1]]:
            return min(trees), max(trees)
        lighter = max(min(branch[link] for link in moving), 0.1 * trees[0])
        return lighter, lighter

    def gains(a: Geom, b: Geom) -> Gains:
        moving = [shape for shape in (a, b) if shape.link >= 0]
        series = 1 / len(moving)  # two equal springs, the world is rigid
        lighter, heavier = masses([shape.link for shape in moving])
        weight = lighter * g_norm
        depth = min([SINK_DEPTH, *(min(0.0125 * reach[root[x.link]], 0.125 * half_width(x)) for x in moving)])
        firmer = float(np.sqrt(heavier / lighter)) if lighter > 0 else 1.0
        light = 1 / max(sum(gives[shape.link] for shape in moving), 1e-12)
        kn = series * contact.kn if contact.kn is not None else min(firmer * weight / depth, light * PAIR_RATE**2)
        kd = series * contact.kd if contact.kd is not None else 0.25 * kn * float(np.sqrt(SINK_DEPTH / depth))
        if contact.kt is not None:
            return kn, kd, series * contact.kt
        return kn, kd, min(0.2 * kn if contact.kn is not None else 0.05 * weight / SINK_DEPTH, light * PAIR_RATE / 2)

    return gains


def half_width(shape: Geom) -> float:
    """Half of a shape's least extent [m]."""
    if shape.hull is not None:
        return float(np.ptp(shape.hull.vertices, axis=0).min()) / 2
    used = {"sphere": 1, "capsule": 1, "cylinder": 2}.get(shape.type, 3)
    return float(np.min(shape.size[:used]))


def limit_gains(m: Any, joints: IntArray, limits: LimitParams, law: str, *, solref: bool) -> dict[str, FloatArray]:
    """``limit_stiffness`` and ``limit_damping`` ``[nl]``, see ``LimitParams``; of the file's solref if asked."""
    inertia = effective_inertia(m)[m.jnt_dofadr[joints]] if m.njnt else np.zeros(0)
    if solref:
        return solref_limits(m, joints, inertia, limits)
    stiffness = inertia * LIMIT_RATE**2 if limits.stiffness is None else np.full(len(joints), limits.stiffness)
    damping = 2 * np.sqrt(stiffness * inertia) if law == "damped" else np.full(len(joints), 10.0)
    if limits.damping is not None:
        damping = np.full(len(joints), limits.damping)
    return {"limit_stiffness": stiffness, "limit_damping": damping}


def effective_inertia(m: Any) -> FloatArray:
    """``1 / (M^-1)_dd`` ``[nv]`` in the initial pose: the inertia each joint feels while all others are free."""
    if m.nv == 0:
        return np.zeros(0)
    d = factored(m)
    inverse = np.zeros(m.nv)
    # one tree at a time: columns of different trees do not mix
    first = {}
    for v in range(m.nv):
        first.setdefault(int(m.dof_treeid[v]), []).append(v)
    for k in range(max(len(tree) for tree in first.values())):
        columns = [tree[k] for tree in first.values() if k < len(tree)]
        right, left = np.zeros((1, m.nv)), np.zeros((1, m.nv))
        right[0, columns] = 1.0
        mujoco.mj_solveM(m, d, left, right)
        inverse[columns] = left[0, columns]
    return 1.0 / np.maximum(inverse, 1e-30)


def _mobilities(m: Any, joints: Sequence[int]) -> list[float]:
    """Largest ``1 / kg`` with which the centre of mass of each link's body gives way in the initial pose."""
    d = factored(m)
    return [float(np.linalg.eigvalsh(mobility(m, d, int(m.jnt_bodyid[j])))[-1]) for j in joints]


def _reaches(m: Any, geoms: Mapping[int, Geom], root: Sequence[int]) -> dict[int, float]:
    """Half of the greatest extent [m] of each tree's shapes in the initial pose."""
    d = mujoco.MjData(m)
    mujoco.mj_kinematics(m, d)
    boxes: dict[int, list[FloatArray]] = {}
    for g, shape in geoms.items():
        if shape.link >= 0:
            radius = float(m.geom_rbound[g])
            boxes.setdefault(root[shape.link], []).append(d.geom_xpos[g] + np.array([[-radius], [radius]]))
    return {tree: float(np.ptp(np.concatenate(found), axis=0).max()) / 2 for tree, found in boxes.items()}
