"""Benchmarks of differentiable simulators and of the algorithms that learn through them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("diffrl-bench")
except PackageNotFoundError:
    __version__ = "0+unknown"
