"""Algorithms in PyTorch."""

from __future__ import annotations

from ._sapo import SAPO as SAPO
from ._sapo import SAPOState as SAPOState
from ._shac import SHAC as SHAC
from ._shac import SHACState as SHACState
