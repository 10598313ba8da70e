"""Algorithms in PyTorch."""

from __future__ import annotations

from ._shac import SHAC as SHAC
from ._shac import SHACState as SHACState
