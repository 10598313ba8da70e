"""Equality constraints between joints, and URDF's ``<mimic>``: which joint follows which, by what law."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._flags import active_equalities
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import TENDON_EQUALITY, is_fixed, path_of
from diffsim_core.io._names import joint_name, object_name
from diffsim_core.rigid.couplings import DEGREE, Coupling
from diffsim_core.rigid.model import FloatArray

JOINT = int(mujoco.mjtEq.mjEQ_JOINT)


class Law(NamedTuple):
    """``y - y_ref = sum_k c_k (x - x_ref)^k`` of two joints in MuJoCo's numbers."""

    equality: int
    follower: int
    leader: int
    """-1: y is constant."""
    coefficients: FloatArray
    """``[5]``"""

    @property
    def invertible(self) -> bool:
        """Whether the leader may follow instead."""
        c = self.coefficients
        return self.leader >= 0 and bool(c[1]) and not c[2:].any()

    def inverted(self) -> Law:
        """The same relation with the leader in the follower's place."""
        c = self.coefficients
        return Law(self.equality, self.leader, self.follower, np.array([0.0 - c[0] / c[1], 1 / c[1], 0, 0, 0]))


def read_couplings(m: Any) -> tuple[list[Law], list[str]]:
    """Laws of joints in an order in which leaders come before their followers, and problems.

    Every joint follows one other at most. Where the file gives a joint two laws, a linear one is turned around.
    """
    problems: list[str] = []
    groups: dict[int, set[int]] = {}
    laws: list[Law] = []
    for e in active_equalities(m):
        law = _law(m, e)
        if law is None:
            continue
        first, second = (groups.get(j, {j}) for j in (law.follower, law.leader))
        if law.leader in first:
            problems.append(
                f'{_label(m, e)}: joint "{joint_name(m, law.follower)}" is tied already by the other equality'
                " constraints of joints; remove one of them"
            )
            continue
        groups |= dict.fromkeys(first | second, first | second)
        laws.append(law)
    ordered: list[Law] = []
    for group in {id(group): group for group in groups.values()}.values():
        tied = [law for law in laws if law.follower in group]
        found = _directed(group, tied)
        if found is None:
            names = ", ".join(_label(m, law.equality) for law in tied)
            problems.append(
                f"{names}: a joint would follow two others, and no law that could be turned around is linear;"
                " remove one of them"
            )
        ordered += found or []
    return ordered, problems


def ties_joints(m: Any, e: int) -> bool:
    """Whether an equality constraint ties joints to each other: one of joints, or of a fixed tendon of one or two."""
    return _law(m, e) is not None


def _law(m: Any, e: int) -> Law | None:
    first, second = int(m.eq_obj1id[e]), int(m.eq_obj2id[e])
    c = np.array(m.eq_data[e, : DEGREE + 1], dtype=np.float64)
    if int(m.eq_type[e]) == JOINT:
        return Law(e, first, second, c if second >= 0 else np.array([c[0], 0, 0, 0, 0]))
    if int(m.eq_type[e]) != TENDON_EQUALITY or second >= 0 or not is_fixed(m, first):
        return None
    # c_1 (x - x_ref) + c_2 (y - y_ref) = c_0
    *leader, (_, y, last) = path_of(m, first)
    if len(leader) > 1 or not last or any(x == y or not factor for _, x, factor in leader):
        return None
    x, factor = (leader[0][1], leader[0][2]) if leader else (-1, 0.0)
    return Law(e, y, x, np.array([c[0] / last, -factor / last, 0, 0, 0]))


def couplings_of(m: Any, laws: list[Law]) -> list[Coupling]:
    """The same by names."""
    return [
        Coupling(
            joint_name(m, law.follower),
            joint_name(m, law.leader) if law.leader >= 0 else None,
            law.coefficients.tolist(),
        )
        for law in laws
    ]


def slopes_of(m: Any, laws: list[Law]) -> FloatArray:
    """``[nv, nv]``: rates of all joints by those that follow none, in the initial pose; zero by the others."""
    G = np.eye(m.nv)
    for law in laws:
        row = law.coefficients[1] * G[m.jnt_dofadr[law.leader]] if law.leader >= 0 else 0.0
        G[m.jnt_dofadr[law.follower]] = row
    return G


def coupling_notes(m: Any, laws: list[Law]) -> list[str]:
    """A sentence on what is coupled, and how that differs from MuJoCo."""
    names = ", ".join(f'"{joint_name(m, law.follower)}"' for law in laws)
    return [f"equality constraints of joints hold exactly, where MuJoCo's are soft: {names}"] if laws else []


def _label(m: Any, e: int) -> str:
    return f'equality "{object_name(m, "equality", e) or e}"'


def _directed(group: set[int], laws: list[Law]) -> list[Law] | None:
    """The laws of a tree of joints, away from the ground or the root that needs the fewest of them turned around."""
    found = [_away_from(root, laws) for root in ([-1] if -1 in group else sorted(group))]
    valid = [way for way in found if way is not None]
    given = {law.follower: law.leader for law in laws}
    return min(valid, key=lambda way: sum(given.get(law.follower) != law.leader for law in way), default=None)


def _away_from(root: int, laws: list[Law]) -> list[Law] | None:
    """Each law with the joint farther from ``root`` as the follower, in that order; None if one cannot be turned so."""
    reached, ordered, left = {root}, list[Law](), list(laws)
    while left:
        law = next(law for law in left if law.follower in reached or law.leader in reached)
        left.remove(law)
        if law.follower in reached:
            if not law.invertible:
                return None
            law = law.inverted()
        reached.add(law.follower)
        ordered.append(law)
    return ordered
