"""``Motion``: a rollout as plain arrays, which any simulator can fill in and every viewer shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core.rigid.contacts import HeightField
from diffsim_core.viewer._check_motion import check_motion
from diffsim_core.viewer._deformable import Deformable
from diffsim_core.viewer.html import html_page

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
SingleArray = np.ndarray[Any, np.dtype[Any]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

_FORMAT = "diffsim-motion-1"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape to draw, fixed to a body."""

    name: str
    type: str
    """One of ``sphere``, ``capsule``, ``box``, ``cylinder``, ``ellipsoid``, ``plane``, ``mesh``, which is drawn as the
    box about it, or a type given to ``register_shape``."""
    body: int
    """Index of its body; -1 is the world."""
    pos: tuple[float, ...]
    """Centre in the body's frame [m]."""
    quat: tuple[float, ...]
    """Attitude in the body's frame, wxyz."""
    size: tuple[float, ...]
    """MuJoCo's three size parameters [m]: sphere r; capsule and cylinder r, half length along z; box half extents;
    ellipsoid semi-axes; plane half extents, where 0 is unbounded."""
    rgba: tuple[float, ...]
    """Red, green, blue and opacity, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class MusclePaths:
    """Paths of muscles: straight segments with ends fixed to bodies."""

    names: tuple[str, ...] = ()
    """Names of the ``n`` muscles."""
    width: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[n]`` drawn thickness of each muscle [m]."""
    muscle: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[S]`` index of the muscle of each segment."""
    body: IntArray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """``[S, 2]`` indices of the bodies of both ends; -1 is the world."""
    pos: FloatArray = field(default_factory=lambda: np.zeros((0, 2, 3)))
    """``[S, 2, 3]`` positions of both ends in the frames of their bodies [m]."""


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """Contact forces: one row for each contact in each frame, ordered by frame, then world."""

    frame: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[K]`` index of the frame."""
    world: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[K]`` index of the world."""
    point: SingleArray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    """``[K, 3]`` contact point in world axes [m]."""
    force: SingleArray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    """``[K, 3]`` force on the body in world axes [N]."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """``T`` frames of ``N`` worlds of one robot. Frame t is the state before step t, with the action of step t.

    Axes have z up, quaternions are wxyz, units SI.

    Raises:
        ValueError: an array has a shape that does not fit the others, holds numbers that are not finite, or refers to a
            body, muscle, frame or world that does not exist; the message names the field.
    """

    name: str
    """Name of the task."""
    dt: float
    """Time between frames [s]."""
    bodies: tuple[str, ...]
    """Names of the ``nb`` bodies."""
    shapes: tuple[Shape, ...]
    position: SingleArray
    """``[T, N, nb, 3]`` position of each body's frame [m]."""
    quaternion: SingleArray
    """``[T, N, nb, 4]`` attitude of each body's frame."""
    begins: np.ndarray[Any, np.dtype[np.bool_]]
    """``[T, N]`` whether an episode begins with this frame."""
    curves: Mapping[str, SingleArray] = field(default_factory=dict)
    """Numbers drawn in time with the motion, each ``[T, N]``: ``reward`` of the step from each frame, ``value`` of its
    state, and any others; NaN where a number is missing."""
    muscles: MusclePaths = field(default_factory=MusclePaths)
    activation: SingleArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    """``[T, N, n]`` activation of each muscle, from 0 to 1."""
    contacts: Contacts = field(default_factory=Contacts)
    terrain: HeightField | None = None
    """Height field of uneven ground."""
    deformables: tuple[Deformable, ...] = ()
    """Soft bodies: particles, or meshes that bend."""
    notes: tuple[str, ...] = ()
    """What was not recorded, one sentence each."""

    def __post_init__(self) -> None:
        if not self.muscles.names:
            object.__setattr__(self, "activation", np.zeros((*np.shape(self.position)[:2], 0)))
        for name in ("position", "quaternion", "activation"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        object.__setattr__(self, "begins", np.asarray(self.begins, dtype=bool))
        curves = {name: np.asarray(curve, dtype=np.float32) for name, curve in self.curves.items()}
        object.__setattr__(self, "curves", curves)
        check_motion(self)

    @property
    def num_frames(self) -> int:
        return self.position.shape[0]

    @property
    def num_worlds(self) -> int:
        return self.position.shape[1]

    @property
    def seconds(self) -> float:
        """Time from the first frame to the last [s]."""
        return self.dt * (self.num_frames - 1)

    def select(self, frames: slice = slice(None), worlds: Sequence[int] | None = None) -> Motion:
        """A part of the frames (without a step) and some of the worlds, in the order given.

        Raises:
            ValueError: no frame or world remains, a world does not exist or is given twice, or the slice has a step.
        """
        chosen = list(range(self.num_worlds) if worlds is None else worlds)
        first, last, stride = frames.indices(self.num_frames)
        if stride != 1 or last <= first:
            raise ValueError(f"frames={frames!r} of {self.num_frames}: give a slice that has no step and is not empty")
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(self.num_worlds)):
            raise ValueError(f"worlds={chosen!r}: give some of the worlds 0 to {self.num_worlds - 1}, each once")
        place = np.full(self.num_worlds, -1)
        place[chosen] = np.arange(len(chosen))
        old = self.contacts
        kept = np.flatnonzero((old.frame >= first) & (old.frame < last) & (place[old.world] >= 0))
        kept = kept[np.lexsort((place[old.world[kept]], old.frame[kept]))]
        contacts = Contacts(
            frame=old.frame[kept] - first,
            world=place[old.world[kept]],
            point=old.point[kept],
            force=old.force[kept],
        )

        def part(array: Any) -> Any:
            return array[first:last][:, chosen]

        return replace(
            self,
            position=part(self.position),
            quaternion=part(self.quaternion),
            begins=part(self.begins),
            activation=part(self.activation),
            curves={name: part(curve) for name, curve in self.curves.items()},
            contacts=contacts,
            deformables=tuple(body.select(slice(first, last), chosen) for body in self.deformables),
        )

    def _repr_html_(self) -> str:
        """The page in a sandboxed frame, for notebooks."""
        frame = '<iframe sandbox="allow-scripts" style="width: 100%; height: 480px; border: 0" srcdoc="{}"></iframe>'
        return frame.format(escape(html_page(self)))

    def save(self, path: str | Path) -> None:
        """Write a NumPy ``.npz`` file of a JSON header and plain arrays; loading it runs no code."""
        header = {
            "format": _FORMAT,
            "name": self.name,
            "dt": self.dt,
            "bodies": self.bodies,
            "shapes": [vars(shape) for shape in self.shapes],
            "muscles": self.muscles.names,
            "curves": list(self.curves),
            "notes": self.notes,
            "deformables": [
                {"name": body.name, "radius": body.radius, "shades": list(body.shades)} for body in self.deformables
            ],
        }
        arrays: dict[str, Any] = {f"curve:{name}": curve for name, curve in self.curves.items()}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        for group in (self.muscles, self.contacts, self.terrain):
            if group is not None:
                kind = type(group).__name__
                arrays |= {f"{kind}.{f.name}": getattr(group, f.name) for f in fields(group) if f.name != "names"}
        for k, body in enumerate(self.deformables):
            arrays |= {f"deformable{k}.{name}": getattr(body, name) for name in _POINTS}
            arrays |= {f"deformable{k}:{name}": shade for name, shade in body.shades.items()}
        text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        with Path(path).open("wb") as file:
            np.savez_compressed(file, header=text, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read a file written by ``save``.

        Raises:
            OSError: the file does not exist or cannot be read.
            ValueError: the file is damaged, or holds no motion.
        """
        with Path(path).open("rb") as opened:
            try:
                with np.load(opened, allow_pickle=False) as file:
                    return _from_arrays({name: file[name] for name in file.files})
            except Exception as error:
                # zipfile, zlib, json and NumPy each raise their own errors for a damaged file
                raise ValueError(f"{path} is no motion, or damaged: {error}") from None


_ARRAYS = ("position", "quaternion", "begins", "activation")
_POINTS = ("position", "rgb", "triangles")


def _from_arrays(arrays: Mapping[str, Any]) -> Motion:
    header = json.loads(arrays["header"].tobytes().decode())
    if header["format"] != _FORMAT:
        raise ValueError(f"format is {header['format']!r}, expected {_FORMAT!r}")

    def group(kind: Any, **more: Any) -> Any:
        names = [f.name for f in fields(kind) if f.name not in more]
        return kind(**{name: arrays[f"{kind.__name__}.{name}"] for name in names}, **more)

    return Motion(
        name=str(header["name"]),
        dt=float(header["dt"]),
        bodies=tuple(map(str, header["bodies"])),
        shapes=tuple(Shape(**{key: _frozen(value) for key, value in shape.items()}) for shape in header["shapes"]),
        curves={name: arrays[f"curve:{name}"] for name in header["curves"]},
        muscles=group(MusclePaths, names=tuple(map(str, header["muscles"]))),
        contacts=group(Contacts),
        terrain=group(HeightField) if "HeightField.heights" in arrays else None,
        notes=tuple(map(str, header["notes"])),
        deformables=tuple(
            Deformable(
                name=str(body["name"]),
                radius=float(body["radius"]),
                shades={name: arrays[f"deformable{k}:{name}"] for name in body["shades"]},
                **{name: arrays[f"deformable{k}.{name}"] for name in _POINTS},
            )
            for k, body in enumerate(header.get("deformables", ()))
        ),
        **{name: arrays[name] for name in _ARRAYS},
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
