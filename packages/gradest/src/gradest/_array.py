"""The type of arrays in signatures."""

from typing import Any

Array = Any
"""A NumPy array, a torch tensor or a JAX array (a tracer too)."""
