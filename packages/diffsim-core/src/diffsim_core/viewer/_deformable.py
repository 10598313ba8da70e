"""``Deformable``: points of a soft body over time, drawn as balls or, where it has triangles, as a surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

RAMP = ((0.16, 0.30, 0.62), (0.93, 0.83, 0.42), (0.80, 0.14, 0.12))
"""Colours of the lowest, the middle and the highest number of a shade."""
_EMPTY = np.zeros((0, 3), np.int64)


@dataclass(frozen=True, kw_only=True)
class Deformable:
    """``n`` points of a soft body in ``T`` frames of ``N`` worlds: particles, or vertices of a mesh."""

    name: str
    position: Numbers
    """``[T, N, n, 3]`` [m]."""
    rgb: Numbers = field(default_factory=lambda: np.array([0.85, 0.62, 0.36]))
    """Red, green, blue from 0 to 1, ``[3]`` or of each point ``[n, 3]``, for instance by its material."""
    radius: float = 0.005
    """Of the balls [m]; a surface has none."""
    triangles: Numbers = field(default_factory=lambda: _EMPTY)
    """``[k, 3]`` points of each triangle of the surface, counter-clockwise seen from outside; without any, balls."""
    shades: Mapping[str, Numbers] = field(default_factory=dict)
    """Numbers that the points can be coloured by, each ``[T, N, n]``, such as ``strain``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", np.asarray(self.position, dtype=np.float32))
        object.__setattr__(self, "triangles", np.asarray(self.triangles, dtype=np.int64).reshape(-1, 3))
        shades = {name: np.asarray(shade, dtype=np.float32) for name, shade in self.shades.items()}
        object.__setattr__(self, "shades", shades)
        if self.position.ndim == 4:
            rgb = np.broadcast_to(np.asarray(self.rgb, dtype=np.float64), (self.position.shape[2], 3))
            object.__setattr__(self, "rgb", rgb)

    @property
    def num_points(self) -> int:
        """How many points."""
        return self.position.shape[2]

    def select(self, frames: slice, worlds: Sequence[int]) -> Deformable:
        """Some of the frames and of the worlds."""
        shades = {name: shade[frames][:, worlds] for name, shade in self.shades.items()}
        return replace(self, position=self.position[frames][:, worlds], shades=shades)

    def shade_range(self, name: str) -> tuple[float, float]:
        """Numbers of a shade that get the lowest and the highest colour: all but the outermost half per cent."""
        low, high = np.quantile(self.shades[name], [0.005, 0.995])
        return float(low), float(max(high, low + 1e-9))

    def colors(self, frame: int, shade: str | None = None) -> Numbers:
        """Colours ``[N, n, 3]`` in a frame, from 0 to 1, by themselves or by a shade."""
        N = self.position.shape[1]
        if shade is None:
            return np.broadcast_to(self.rgb, (N, *self.rgb.shape))
        low, high = self.shade_range(shade)
        part = np.clip((self.shades[shade][frame] - low) / (high - low), 0.0, 1.0) * (len(RAMP) - 1)
        ramp = np.array(RAMP)
        return np.stack([np.interp(part, np.arange(len(RAMP)), ramp[:, c]) for c in range(3)], axis=-1)


def check_deformable(body: Deformable, frames: int, worlds: int) -> None:
    """Raise ``ValueError`` for the first field that makes no sense."""
    what = f"deformable {body.name!r}"
    n = body.position.shape[2] if body.position.ndim == 4 else 0
    if body.position.shape != (frames, worlds, n, 3) or not n:
        raise ValueError(f"{what}: position has shape {body.position.shape}, expected [{frames}, {worlds}, n, 3]")
    if not np.isfinite(body.position).all():
        raise ValueError(f"{what}: position has numbers that are not finite; exclude such worlds or frames")
    if not 0 < body.radius < np.inf:
        raise ValueError(f"{what}: radius is {body.radius!r}; give positive metres")
    if len(body.triangles) and not (body.triangles.min() >= 0 and body.triangles.max() < n):
        raise ValueError(f"{what}: triangles name points outside 0 to {n - 1}")
    for name, shade in body.shades.items():
        if shade.shape != (frames, worlds, n) or not np.isfinite(shade).all():
            raise ValueError(f"{what}: shade {name!r} has shape {shade.shape}, expected {(frames, worlds, n)}, finite")
