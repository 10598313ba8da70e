"""MuJoCo's masses of a compiled model in its initial pose: one place for all that the loader scales by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid.model import FloatArray


def posed(m: Any) -> Any:
    """``MjData`` with the mass matrix."""
    d = mujoco.MjData(m)
    mujoco.mj_kinematics(m, d)
    mujoco.mj_comPos(m, d)
    mujoco.mj_crb(m, d)
    return d


def factored(m: Any) -> Any:
    """The same, with the factor that ``mj_solveM`` reads."""
    d = posed(m)
    mujoco.mj_factorM(m, d)
    return d


def mobility(m: Any, d: Any, b: int) -> FloatArray:
    """How the centre of mass of body ``b`` gives way to a force, all joints free ``[3, 3]`` [1/kg]; ``d`` factored."""
    jacobian, solved = np.zeros((3, m.nv)), np.zeros((3, m.nv))
    mujoco.mj_jacBodyCom(m, d, jacobian, None, b)
    mujoco.mj_solveM(m, d, solved, jacobian)
    return jacobian @ solved.T
