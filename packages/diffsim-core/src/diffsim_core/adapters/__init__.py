"""Adapters between this library and others; each needs the extra of its name.

Our environments run in Gymnasium, Stable-Baselines3, skrl and rsl_rl. Gymnasium's environments run here, without
gradients, and Brax's and MuJoCo Playground's with them. Newton's models serve as dynamics, with gradients. Importing
this module loads none of these libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffsim_core.adapters._missing import needed_by

if TYPE_CHECKING:
    from diffsim_core.adapters._from_brax import FromBrax as FromBrax
    from diffsim_core.adapters._from_gymnasium import FromGymnasium as FromGymnasium
    from diffsim_core.adapters._from_playground import FromPlayground as FromPlayground
    from diffsim_core.adapters._gymnasium import GymnasiumEnv as GymnasiumEnv
    from diffsim_core.adapters._gymnasium import GymnasiumVectorEnv as GymnasiumVectorEnv
    from diffsim_core.adapters._newton import NewtonBodyState as NewtonBodyState
    from diffsim_core.adapters._newton import NewtonDynamics as NewtonDynamics
    from diffsim_core.adapters._newton import NewtonState as NewtonState
    from diffsim_core.adapters._rsl_rl import RslRlVecEnv as RslRlVecEnv
    from diffsim_core.adapters._sb3 import SB3VecEnv as SB3VecEnv
    from diffsim_core.adapters._skrl import SkrlEnv as SkrlEnv

_LAZY = {
    "FromBrax": ("_from_brax", "brax"),
    "FromGymnasium": ("_from_gymnasium", "gymnasium"),
    "FromPlayground": ("_from_playground", "brax"),
    "GymnasiumEnv": ("_gymnasium", "gymnasium"),
    "GymnasiumVectorEnv": ("_gymnasium", "gymnasium"),
    "NewtonBodyState": ("_newton", "newton"),
    "NewtonDynamics": ("_newton", "newton"),
    "NewtonState": ("_newton", "newton"),
    "RslRlVecEnv": ("_rsl_rl", "rsl_rl"),
    "SB3VecEnv": ("_sb3", "sb3"),
    "SkrlEnv": ("_skrl", "skrl"),
}
"""Module and extra of each name."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _LAZY[name]
    with needed_by(name, f"'diffsim-core[{extra}]'"):
        return getattr(importlib.import_module(f"diffsim_core.adapters.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
