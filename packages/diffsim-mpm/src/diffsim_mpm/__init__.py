"""Differentiable deformables: the material point method and tetrahedral bodies, with gradients, for learning.

Importing this package loads neither an array library nor a simulator; each name is imported on first use.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("diffsim-mpm")
except PackageNotFoundError:
    __version__ = "0+unknown"

_LAZY: dict[str, str] = {
    **dict.fromkeys(("MATERIALS", "Material", "Parameter", "compiled_materials", "register_material"), "materials"),
    "MaterialProbe": "_probe",
    "MaterialCheck": "material_check",
    "check_material": "material_check",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_mpm.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
