"""Numbers of the host on a device: copied there once, however often a task asks for them.

A copy from NumPy's memory makes the host wait for the device, and cannot be part of a CUDA graph. Tasks ask for the
same few constants in every step: rest positions, ranges, masses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

MOST = 4096
"""Arrays that are kept. None gives way to another: a CUDA graph may have captured its address."""
LARGEST = 2**16
"""Bytes of the largest array that is kept: a task may make new arrays in every step, and these must not pile up."""
_KEPT: dict[tuple[Any, ...], torch.Tensor] = {}


def uploaded(values: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """``values`` as a new contiguous tensor on ``device``, from a copy that is there already if they came before."""
    # Of axes that only repeat one entry, as those of np.broadcast_to do, one entry is enough.
    core = values[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in values.strides)]
    key = (device, core.dtype.str, core.shape, core.tobytes())
    kept = _KEPT.get(key)
    if kept is None:
        with torch.inference_mode(False):
            kept = torch.from_numpy(np.array(core, order="C")).to(device)
        if len(_KEPT) < MOST and core.nbytes <= LARGEST:
            _KEPT[key] = kept
    return kept.expand(values.shape).clone(memory_format=torch.contiguous_format)
