"""Policy learning through differentiable simulators, and the diffrl command."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("diffrl-algos")
except PackageNotFoundError:
    __version__ = "0+unknown"
