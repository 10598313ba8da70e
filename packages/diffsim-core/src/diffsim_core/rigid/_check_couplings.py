"""Whether the couplings of a ``RigidModel`` are whole: they hold indices, which kernels do not check."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffsim_core.rigid._check_parts import not_finite, wrong_indices, wrong_shapes
from diffsim_core.rigid.couplings import DEGREE
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel


def shapes(m: RigidModel) -> Iterator[str]:
    """Arrays of a wrong size, or with indices that no link has."""
    c, n = m.couplings, len(m.couplings.link)
    expected: dict[str, tuple[int, ...]] = {"leader": (n,), "coefficients": (n, DEGREE + 1), "q_ref": (n,)}
    yield from wrong_shapes(c, expected, "couplings.")
    yield from wrong_indices("couplings.link", c.link, 0, m.nl)
    yield from wrong_indices("couplings.leader", c.leader, -1, m.nl)
    yield from not_finite(c, expected, "couplings.")


def laws(m: RigidModel) -> Iterator[str]:
    """Followers out of place, or before their leaders."""
    c = m.couplings
    seen = {i for i in range(m.nl) if i not in c.link}
    for k, (follower, leader) in enumerate(zip(c.link.tolist(), c.leader.tolist(), strict=True)):
        name = m.joint_name[follower]
        places = (int(m.joint_q[follower]), int(m.joint_dof[follower]))
        if places != (m.nq + k, m.nv + k):
            yield f"joint {name!r} follows: its joint_q, joint_dof are {m.nq + k}, {m.nv + k}; use couple()"
        for i in (follower, leader):
            if i >= 0 and not JOINTS.at(int(m.joint_type[i])).scalar:
                yield f"couplings[{k}]: joint {m.joint_name[i]!r} has several coordinates; couple slides and hinges"
        if follower in seen:
            yield f"couplings.link has joint {name!r} twice; give one law"
        if leader >= 0 and leader not in seen:
            yield f"couplings[{k}]: joint {name!r} follows {m.joint_name[leader]!r}, whose own law must come before"
        if leader < 0 and np.any(c.coefficients[k, 1:]):
            yield f"couplings[{k}]: joint {name!r} has no leader, so only its first coefficient may not be zero"
        seen.add(follower)
