"""Soft bodies of tetrahedra with an activation in each, and their gradients."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffsim_mpm.tet.mesh import TetMesh as TetMesh
from diffsim_mpm.tet.mesh import check_closed as check_closed
from diffsim_mpm.tet.mesh import enclosed_volume as enclosed_volume
from diffsim_mpm.tet.mesh import oriented as oriented
from diffsim_mpm.tet.meshing import box as box
from diffsim_mpm.tet.meshing import cell_mesh as cell_mesh
from diffsim_mpm.tet.meshing import cylinder as cylinder
from diffsim_mpm.tet.meshing import ellipsoid as ellipsoid
from diffsim_mpm.tet.meshing import table as table
from diffsim_mpm.tet.model import Contact as Contact
from diffsim_mpm.tet.model import TetModel as TetModel

if TYPE_CHECKING:
    from diffsim_mpm.tet.dynamics import TetConstants as TetConstants
    from diffsim_mpm.tet.dynamics import TetDynamics as TetDynamics
    from diffsim_mpm.tet.dynamics import TetState as TetState
    from diffsim_mpm.tet.files import read_mesh as read_mesh
    from diffsim_mpm.tet.files import write_mesh as write_mesh

_LAZY = {
    "TetConstants": "dynamics",
    "TetDynamics": "dynamics",
    "TetState": "dynamics",
    "read_mesh": "files",
    "write_mesh": "files",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_mpm.tet.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
