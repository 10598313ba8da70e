"""How elements of a compiled model are named in arrays and messages."""

from __future__ import annotations

from typing import Any

from diffsim_core.io._mujoco import mujoco


def body_name(m: Any, b: int) -> str:
    """The body's name in the file, or ``bodyN``."""
    return mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_BODY, int(b)) or f"body{b}"


def joint_name(m: Any, j: int) -> str:
    """The joint's name in the file, or ``jointN``."""
    return mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_JOINT, int(j)) or f"joint{j}"


def geom_name(m: Any, g: int) -> str:
    """The shape's name in the file, or its body's name and its place in that body."""
    b = int(m.geom_bodyid[g])
    return mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_GEOM, int(g)) or f"{body_name(m, b)}/geom{g - m.body_geomadr[b]}"


def actuator_name(m: Any, a: int) -> str:
    """The actuator's name in the file, or ``actuatorN``."""
    return mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_ACTUATOR, int(a)) or f"actuator{a}"


def geom_label(m: Any, g: int) -> str:
    """Kind and name for a message: ``cylinder geom "wheel"``."""
    kind = mujoco.mjtGeom(int(m.geom_type[g])).name.removeprefix("mjGEOM_").lower()
    return f'{kind} geom "{geom_name(m, g)}"'
