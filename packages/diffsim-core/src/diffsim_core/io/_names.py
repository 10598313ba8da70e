"""How elements of a compiled model are named in arrays and messages."""

from __future__ import annotations

from typing import Any

from diffsim_core.io._mujoco import mujoco


def object_name(m: Any, kind: str, i: int) -> str:
    """Name in the file of the i-th element of a kind (``body``, ``geom``, ...), or an empty string."""
    return mujoco.mj_id2name(m, getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), int(i)) or ""


def body_name(m: Any, b: int) -> str:
    """The body's name in the file, or ``bodyN``."""
    return object_name(m, "body", b) or f"body{b}"


def joint_name(m: Any, j: int) -> str:
    """The joint's name in the file, or ``jointN``."""
    return object_name(m, "joint", j) or f"joint{j}"


def geom_name(m: Any, g: int) -> str:
    """The shape's name in the file, or its body's name and its place in that body."""
    b = int(m.geom_bodyid[g])
    return object_name(m, "geom", g) or f"{body_name(m, b)}/geom{g - m.body_geomadr[b]}"


def actuator_name(m: Any, a: int) -> str:
    """The actuator's name in the file, or its tendon's, site's or joint's."""
    if name := object_name(m, "actuator", a):
        return name
    moved = int(m.actuator_trnid[a, 0])
    for kind in ("tendon", "site"):
        if int(m.actuator_trntype[a]) == int(getattr(mujoco.mjtTrn, f"mjTRN_{kind.upper()}")):
            return object_name(m, kind, moved) or f"{kind}{moved}"
    return joint_name(m, moved)


def geom_label(m: Any, g: int) -> str:
    """Kind and name for a message: ``cylinder geom "wheel"``."""
    kind = mujoco.mjtGeom(int(m.geom_type[g])).name.removeprefix("mjGEOM_").lower()
    return f'{kind} geom "{geom_name(m, g)}"'
