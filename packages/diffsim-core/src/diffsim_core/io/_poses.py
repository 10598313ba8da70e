"""Keyframes of a model file: the poses that its author names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffsim_core.io._compile import compile_model, source_label
from diffsim_core.io._mujoco import MjSpec
from diffsim_core.io._names import object_name
from diffsim_core.io.errors import ModelError
from diffsim_core.rigid.model import FloatArray


def load_poses(source: str | Path | MjSpec, *, root: str | Path | None = None) -> dict[str, FloatArray]:
    """Coordinates ``qpos`` ``[nq]`` of the keyframes of an MJCF file, by name (``key0``, ``key1`` without).

    They have all joints; ``own_state(model, qpos)`` leaves out those that follow others.

    Args:
        source: as in ``load_model``.
        root: as in ``load_model``.

    Raises:
        ModelError: the file cannot be read or compiled.
    """
    m = compile_model(source, floating=False, root=root, keyframes=True).model
    named = {object_name(m, "key", k) or f"key{k}": np.array(m.key_qpos[k]) for k in range(m.nkey)}
    if bad := [name for name, q in named.items() if not np.isfinite(q).all()]:
        raise ModelError(source_label(source), [f'keyframe "{name}" has values that are not finite' for name in bad])
    return named
