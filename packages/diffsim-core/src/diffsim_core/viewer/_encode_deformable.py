"""Encoding of soft bodies for the page, decoded by ``_page/soft.js``: a byte for each coordinate in each frame."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from diffsim_core.viewer._deformable import RAMP, Deformable

_KEY_STEPS = 65535


def encode_deformable(body: Deformable, begins: Any) -> dict[str, Any]:
    """A soft body as JSON values.

    The first frame of an episode has 16-bit steps across the box about all points. Every other one has what it differs
    from the frame before it *as decoded*, in 8-bit steps of its own, so that errors do not add up: a point is off by at
    most a 254th of the way that the fastest one makes in a frame.
    """
    T, N, n, _ = body.position.shape
    flat = body.position.astype(np.float64).reshape(-1, 3)
    low, high = flat.min(axis=0), flat.max(axis=0)
    key_step = np.maximum(high - low, 1e-9) / _KEY_STEPS
    keys, deltas, steps = [], [], np.zeros((T, N), np.float32)
    decoded = np.zeros((N, n, 3))
    for t in range(T):
        for w in range(N):
            position = body.position[t, w].astype(np.float64)
            if t == 0 or begins[t, w]:
                key = np.rint((position - low) / key_step)
                decoded[w] = low + key * key_step
                keys.append(key)
                continue
            moved = position - decoded[w]
            step = steps[t, w] = np.float32(max(np.abs(moved).max() / 127, 1e-9))
            delta = np.clip(np.rint(moved / step), -127, 127)
            decoded[w] += delta * np.float64(step)
            deltas.append(delta)
    shades = []
    for name, shade in body.shades.items():
        first, last = body.shade_range(name)
        part = np.rint(255 * np.clip((shade - first) / (last - first), 0.0, 1.0))
        shades.append({"name": name, "low": first, "high": last, "values": _base64(part, "u1")})
    return {
        "name": body.name,
        "points": n,
        "radius": body.radius,
        "rgb": _base64(np.rint(255 * np.clip(body.rgb, 0.0, 1.0)), "u1"),
        "triangles": _base64(body.triangles, "<u4"),
        "low": low.tolist(),
        "keyStep": key_step.tolist(),
        "keys": _base64(np.array(keys), "<u2"),
        "deltas": _base64(np.array(deltas), "i1"),
        "steps": _base64(steps, "<f4"),
        "shades": shades,
        "ramp": RAMP,
    }


def _base64(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
