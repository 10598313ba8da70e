"""The joints of a compiled MuJoCo model, by our names."""

from __future__ import annotations

from typing import Any

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid.joints import BALL, FREE, HINGE, SLIDE, Joint

_OF_MUJOCO = {
    int(mujoco.mjtJoint.mjJNT_FREE): FREE,
    int(mujoco.mjtJoint.mjJNT_BALL): BALL,
    int(mujoco.mjtJoint.mjJNT_SLIDE): SLIDE,
    int(mujoco.mjtJoint.mjJNT_HINGE): HINGE,
}


def joint_of(m: Any, j: int) -> Joint:
    """The type of a joint.

    Raises:
        KeyError: for a type that MuJoCo has and we do not.
    """
    return _OF_MUJOCO[int(m.jnt_type[j])]
