"""Worlds on a CPU that take the ways of a GPU: nothing is looked at, and constants are copied from the host once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from diffsim_core._interop_torch import TorchBackend


@contextlib.contextmanager
def as_on_gpu(env: Any) -> Iterator[None]:
    """While the context is open; ``env`` is a ``TaskEnv``."""
    can_read = TorchBackend.can_read
    env._look = False
    TorchBackend.can_read = lambda self, device: False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        env._look = True
        TorchBackend.can_read = can_read
