"""The built-in legs of ``humanoid_mtu``: a model of both sides, from ``models/lower_body.toml``."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import numpy as np

from diffsim_core.io._skeleton import Bone, Strand, check_skeleton
from diffsim_core.io._snu import build_model, joint_gains
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.tasks._rigid import MUSCLE_STRENGTH

SIDES = {"left": np.array([1.0, 1.0, 1.0]), "right": np.array([1.0, -1.0, 1.0])}


def lower_body(**laws: str | None) -> RigidModel:
    """The model; ``laws`` as in :func:`diffsim_core.io.load_model`. Muscles of the left side come first."""
    with (resources.files("diffsim_core.tasks") / "models" / "lower_body.toml").open("rb") as file:
        table = tomllib.load(file)
    bodies: dict[str, dict[str, Any]] = table["bodies"]
    trunk = next(name for name, body in bodies.items() if "parent" not in body)
    bones = [_bone(trunk, bodies[trunk], None, SIDES["left"])]
    for side, mirror in SIDES.items():
        named = {name: name if name == trunk else f"{name}_{side}" for name in bodies}
        for name, body in bodies.items():
            if name != trunk:
                bones.append(_bone(named[name], body, named[body["parent"]], mirror))
    strands = []
    for side, mirror in SIDES.items():
        for name, (f0, *path) in table["muscles"].items():
            points = tuple(_point(text, trunk, side, mirror) for text in path)
            strands.append(Strand(name=f"{name}_{side}", force=MUSCLE_STRENGTH * f0, points=points))
    check_skeleton("lower_body.toml", bones, strands)
    return build_model("humanoid_mtu", bones, strands, laws=laws)


def _point(text: str, trunk: str, side: str, mirror: FloatArray) -> tuple[str, FloatArray]:
    body, *numbers = text.split()
    return body if body == trunk else f"{body}_{side}", mirror * np.array([float(x) for x in numbers])


def _bone(name: str, body: dict[str, Any], parent: str | None, mirror: FloatArray) -> Bone:
    # an axis of rotation is a pseudovector: reflection keeps its component along the mirror's normal
    axis = np.prod(mirror) * mirror * np.array(body["axis"]) if "axis" in body else None
    return Bone(
        name=name,
        parent=parent,
        mass=body["mass"],
        shape="box",
        size=tuple(x / 2 for x in body["size"]),
        pos=mirror * np.array(body["pos"]),
        quat=np.array([1.0, 0.0, 0.0, 0.0]),
        joint=body["joint"],
        anchor=mirror * np.array(body["anchor"]),
        axis=axis,
        range=tuple(body["range"]) if "range" in body else None,
        **joint_gains(body["mass"], body["joint"]),
    )
