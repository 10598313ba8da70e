"""Differentiable deformables: the material point method and tetrahedral bodies, with gradients, for learning.

Importing this package loads neither an array library nor a simulator; each name is imported on first use. Bodies of
tetrahedra are in :mod:`diffsim_mpm.tet`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffsim_mpm._probe import MaterialProbe as MaterialProbe
    from diffsim_mpm.chain import Joint as Joint
    from diffsim_mpm.chain import KinematicChain as KinematicChain
    from diffsim_mpm.dynamics import DrivenHistoryState as DrivenHistoryState
    from diffsim_mpm.dynamics import DrivenState as DrivenState
    from diffsim_mpm.dynamics import HistoryState as HistoryState
    from diffsim_mpm.dynamics import MpmConstants as MpmConstants
    from diffsim_mpm.dynamics import MpmDynamics as MpmDynamics
    from diffsim_mpm.dynamics import MpmState as MpmState
    from diffsim_mpm.material_check import MaterialCheck as MaterialCheck
    from diffsim_mpm.material_check import check_material as check_material
    from diffsim_mpm.materials import MATERIALS as MATERIALS
    from diffsim_mpm.materials import Material as Material
    from diffsim_mpm.materials import Parameter as Parameter
    from diffsim_mpm.materials import register_material as register_material
    from diffsim_mpm.model import MpmBody as MpmBody
    from diffsim_mpm.model import MpmModel as MpmModel
    from diffsim_mpm.rigid import RigidBody as RigidBody
    from diffsim_mpm.shapes import Box as Box
    from diffsim_mpm.shapes import Capsule as Capsule
    from diffsim_mpm.shapes import Cylinder as Cylinder
    from diffsim_mpm.shapes import Plane as Plane
    from diffsim_mpm.shapes import Shape as Shape
    from diffsim_mpm.shapes import SignedDistanceGrid as SignedDistanceGrid
    from diffsim_mpm.shapes import Sphere as Sphere
    from diffsim_mpm.views import motion_of as motion_of

try:
    __version__ = version("diffsim-mpm")
except PackageNotFoundError:
    __version__ = "0+unknown"

_LAZY = {
    "Box": "shapes",
    "Capsule": "shapes",
    "Cylinder": "shapes",
    "DrivenHistoryState": "dynamics",
    "DrivenState": "dynamics",
    "HistoryState": "dynamics",
    "Joint": "chain",
    "KinematicChain": "chain",
    "MATERIALS": "materials",
    "Material": "materials",
    "MaterialCheck": "material_check",
    "MaterialProbe": "_probe",
    "MpmBody": "model",
    "MpmConstants": "dynamics",
    "MpmDynamics": "dynamics",
    "MpmModel": "model",
    "MpmState": "dynamics",
    "Parameter": "materials",
    "Plane": "shapes",
    "RigidBody": "rigid",
    "Shape": "shapes",
    "SignedDistanceGrid": "shapes",
    "Sphere": "shapes",
    "check_material": "material_check",
    "motion_of": "views",
    "register_material": "materials",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_mpm.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
