"""MuJoCo's Python module. Typed as ``Any``, because its compiled parts come without type stubs."""

from __future__ import annotations

from typing import Any, TypeAlias

import mujoco as _module

mujoco: Any = _module
MjSpec: TypeAlias = Any
