"""Hyper-parameters of the algorithms, shared by every framework. Nothing here imports torch or JAX."""

from __future__ import annotations

from ._sapo import SAPOConfig as SAPOConfig
from ._shac import SHACConfig as SHACConfig
from ._window import WindowConfig as WindowConfig
