"""Encoding of a motion as JSON for the page: small integers in base64, decoded by ``_page/motion.js``."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsim_core.viewer._encode_deformable import encode_deformable
from diffsim_core.viewer._shapes import PARTS

if TYPE_CHECKING:  # a motion shows itself by this module
    from diffsim_core.viewer._motion import Motion, Shape

_ARROW = 0.6
"""Length of the arrow of a strong contact force (the upper quartile), in units of the robot's reach."""
_MOST_CONTACTS = 2**16 - 1


def encode(motion: Motion) -> dict[str, Any]:
    """The motion as JSON values.

    Positions are relative to the first body of their world, in 16-bit steps; those of the first body are single
    precision. Quaternions and forces have 16-bit steps, activations 8-bit steps. The object contains the size of each
    step.

    Raises:
        ValueError: a frame of a world has more contacts than the format allows.
    """
    T, N, nb = motion.position.shape[:3]
    root = motion.position[:, :, 0] if nb else np.zeros((T, N, 3), np.float32)
    relative = motion.position.astype(np.float64) - root[:, :, None]
    position, position_step = _steps(relative)
    extent = reach(motion)
    return {
        "name": motion.name,
        "dt": motion.dt,
        "frames": T,
        "worlds": N,
        "bodies": motion.bodies,
        "shapes": [_shape(shape) for shape in motion.shapes],
        "root": _base64(root, "<f4"),
        "position": _base64(position, "<i2"),
        "positionStep": position_step,
        "quaternion": _base64(_unit_steps(motion.quaternion), "<i2"),
        "begins": [np.flatnonzero(motion.begins[:, world]).tolist() for world in range(N)],
        "curves": [{"name": name, "values": _base64(curve, "<f4")} for name, curve in motion.curves.items()],
        "muscles": {
            "muscle": motion.muscles.muscle.tolist(),
            "body": motion.muscles.body.tolist(),
            "pos": np.round(motion.muscles.pos, 5).tolist(),
            "width": np.round(motion.muscles.width, 5).tolist(),
        },
        "activation": _base64(np.rint(255 * np.clip(motion.activation, 0, 1)), "u1"),
        "contacts": _contacts(motion, root),
        "terrain": _terrain(motion),
        "soft": [encode_deformable(body, motion.begins) for body in motion.deformables],
        "notes": motion.notes,
        "spacing": round(2 * extent + 0.5, 2),
        "viewDistance": round(view_distance(motion), 2),
        "viewHeight": round(view_height(motion), 3),
    }


def _shape(shape: Shape) -> dict[str, Any]:
    placed = {"type": shape.type, "body": shape.body, "pos": shape.pos, "quat": shape.quat}
    return placed | {"parts": PARTS[shape.type](shape.size), "rgba": visible(shape.rgba)}


def _steps(values: Any) -> tuple[Any, float]:
    """16-bit integers, and the value of one step."""
    step = float(np.abs(values).max(initial=0.0)) / 32767 or 1.0
    return np.rint(values / step), step


def _unit_steps(quaternion: Any) -> Any:
    length = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return np.rint(quaternion / np.maximum(length, 1e-12) * 32767)


def _base64(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def visible(rgba: tuple[float, ...]) -> list[float]:
    return [round(min(max(float(x), 0.0), 1.0), 4) for x in rgba]


def reach(motion: Motion) -> float:
    """How far the robot's shapes extend from its first body [m], as precisely as a camera needs it."""
    extents = [0.3]
    for shape in motion.shapes:
        if shape.body >= 0:
            distance = np.linalg.norm(motion.position[:, :, shape.body] - motion.position[:, :, 0], axis=-1)
            size = max(shape.size[:2]) if shape.type in ("capsule", "cylinder") else max(shape.size)
            extents.append(float(np.quantile(distance, 0.99)) + float(np.linalg.norm(shape.pos)) + size)
    return max(extents)


def view_distance(motion: Motion) -> float:
    """How far a camera is that sees the robot, or, where there are any, soft bodies and a bit around them [m]."""
    if not motion.deformables:
        return 2.6 * reach(motion) + 1.0
    points = np.concatenate([body.position for body in motion.deformables], axis=2)
    away = np.linalg.norm(points - points.mean(axis=2, keepdims=True), axis=-1)
    return 5.0 * float(np.quantile(away, 0.99)) + 0.2


def view_height(motion: Motion) -> float:
    """Height at which the camera looks [m]."""
    if motion.deformables:
        return float(np.median(np.concatenate([body.position[..., 2] for body in motion.deformables], axis=2)))
    return float(np.median(motion.position[:, :, 0, 2])) if motion.bodies else 0.0


def newtons_per_metre(motion: Motion) -> float:
    """Contact force whose arrow is one metre long, 1, 2 or 5 times a power of ten [N]."""
    if not len(motion.contacts.force):
        return 1.0
    strong = np.quantile(np.linalg.norm(motion.contacts.force, axis=1), 0.75)
    return _round_up(float(strong) / (_ARROW * reach(motion)))


def _contacts(motion: Motion, root: Any) -> dict[str, Any]:
    contacts = motion.contacts
    T, N = motion.num_frames, motion.num_worlds
    count = np.bincount(contacts.frame * N + contacts.world, minlength=T * N)
    if count.max(initial=0) > _MOST_CONTACTS:
        raise ValueError(f"contacts: {count.max()} in one frame of a world; the page can show at most {_MOST_CONTACTS}")
    point, point_step = _steps(contacts.point.astype(np.float64) - root[contacts.frame, contacts.world])
    force, force_step = _steps(contacts.force.astype(np.float64))
    return {
        "count": _base64(count, "<u2"),
        "point": _base64(point, "<i2"),
        "pointStep": point_step,
        "force": _base64(force, "<i2"),
        "forceStep": force_step,
        "newtonsPerMetre": newtons_per_metre(motion),
    }


def _round_up(value: float) -> float:
    """``value`` rounded up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
    return float(next(power * k for k in (1, 2, 5, 10) if power * k >= value))


def _terrain(motion: Motion) -> dict[str, Any] | None:
    field = motion.terrain
    if field is None:
        return None
    return {
        "heights": _base64(field.heights, "<f4"),
        "columns": field.heights.shape[1],
        "origin": field.origin.tolist(),
        "spacing": field.spacing.tolist(),
    }
