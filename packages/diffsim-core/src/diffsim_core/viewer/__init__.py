"""Viewers: a rollout is recorded as a :class:`Motion` and shown as a standalone HTML file, a video or a live page.

Importing this module loads NumPy only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffsim_core.viewer._deformable import Deformable as Deformable
from diffsim_core.viewer._markers import Marker as Marker
from diffsim_core.viewer._motion import Contacts as Contacts
from diffsim_core.viewer._motion import Motion as Motion
from diffsim_core.viewer._motion import MusclePaths as MusclePaths
from diffsim_core.viewer._motion import Shape as Shape
from diffsim_core.viewer._shapes import Part as Part
from diffsim_core.viewer._shapes import register_shape as register_shape
from diffsim_core.viewer.html import html_page as html_page
from diffsim_core.viewer.html import write_html as write_html

if TYPE_CHECKING:
    from diffsim_core.viewer._record import Footage as Footage
    from diffsim_core.viewer._record import OwnMotion as OwnMotion
    from diffsim_core.viewer._record import OwnPage as OwnPage
    from diffsim_core.viewer._record import Recorder as Recorder
    from diffsim_core.viewer._record import film as film
    from diffsim_core.viewer._record import motion_of as motion_of
    from diffsim_core.viewer._record import record as record
    from diffsim_core.viewer._record import write_page as write_page
    from diffsim_core.viewer.video import render as render
    from diffsim_core.viewer.video import write_video as write_video

_RECORDING = ("Footage", "OwnMotion", "OwnPage", "Recorder", "film", "motion_of", "record", "write_page")
_LAZY = dict.fromkeys(_RECORDING, "_record") | {"render": "video", "write_video": "video"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_core.viewer.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
