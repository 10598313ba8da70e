"""Differentiable traffic: drivers who follow each other on many lanes, and controlled vehicles among them.

Importing this package loads neither an array library nor a simulator; each name is imported on first use.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from diffsim_traffic.laws import IDM as IDM
from diffsim_traffic.laws import IDM_CLIP_SUM as IDM_CLIP_SUM
from diffsim_traffic.laws import KRAUSS as KRAUSS
from diffsim_traffic.laws import LAWS as LAWS
from diffsim_traffic.laws import OVM as OVM
from diffsim_traffic.laws import Law as Law
from diffsim_traffic.model import Road as Road
from diffsim_traffic.model import TrafficModel as TrafficModel

if TYPE_CHECKING:
    from diffsim_traffic.dynamics import TrafficConstants as TrafficConstants
    from diffsim_traffic.dynamics import TrafficDynamics as TrafficDynamics
    from diffsim_traffic.dynamics import TrafficState as TrafficState
    from diffsim_traffic.playback import write_html as write_html
    from diffsim_traffic.plot import plot_space_time as plot_space_time
    from diffsim_traffic.plot import plot_speeds as plot_speeds
    from diffsim_traffic.scene import Scene as Scene
    from diffsim_traffic.scene import record_scene as record_scene

try:
    __version__ = version("diffsim-traffic")
except PackageNotFoundError:
    __version__ = "0+unknown"

_LAZY = {
    "Scene": "scene",
    "TrafficConstants": "dynamics",
    "TrafficDynamics": "dynamics",
    "TrafficState": "dynamics",
    "plot_space_time": "plot",
    "plot_speeds": "plot",
    "record_scene": "scene",
    "write_html": "playback",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_traffic.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
