"""Steps in one operation as they are made for CUDA, on a CPU: a world for each item, and nobody looks what ended."""

from __future__ import annotations

import functools
from typing import Any

from diffsim_core._traced import _fused
from diffsim_core._traced._program import Compiled


def for_cuda(monkeypatch: Any) -> None:
    """From now on environments take the source for CUDA, which Warp's compiler for CPUs compiles too."""
    monkeypatch.setattr(_fused, "Compiled", functools.partial(Compiled, on_cuda=True))
