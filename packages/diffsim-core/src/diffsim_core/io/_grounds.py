"""The grounds of a model: the level plane or height field that most shapes touch, and planes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diffsim_core.io._attributes import Attributes
from diffsim_core.rigid.contacts import HeightField
from diffsim_core.rigid.model import FloatArray

_SAME = 1e-9


@dataclass(frozen=True)
class Ground:
    """A horizontal plane or a height field, other planes, and the moving shapes that touch them."""

    height: float
    """z of the level plane [m]."""
    field: HeightField | None
    """In place of the level plane."""
    planes: FloatArray
    """``[n, 4]`` upward normal of each other plane, and its distance from the origin [m]."""
    touching: tuple[tuple[int, int, Attributes], ...]
    """MuJoCo's index of each shape, the plane it touches (-1: the ground), and with what friction and margin."""


def choose_ground(
    planes: Mapping[int, FloatArray],
    fields: Mapping[int, HeightField],
    touches: Mapping[tuple[int, int], Attributes],
) -> Ground | None:
    """The ground, from every plane ``[4]`` and height field by the index of its shape.

    ``touches`` are by indices of the moving shape and of the plane or field. The ground is the field, or of the level
    planes the one that most shapes touch; planes in one place are one. Where friction differs along two tangents
    a level plane is one of the others, which have tangents.
    """
    if not planes and not fields:
        return None
    field = next(iter(fields.values()), None)
    level = [s for s, plane in planes.items() if field is None and plane[2] > 1 - _SAME]
    at = {s: [t for t in level if abs(planes[s][3] - planes[t][3]) < _SAME] for s in level}
    even = [s for (_, s), found in touches.items() if found.ratio == 1]
    main = max(level, key=lambda s: sum(on in at[s] for on in even)) if level else None
    others: list[FloatArray] = []
    touching: dict[tuple[int, int], Attributes] = {}
    for (g, s), found in touches.items():
        if s in fields or (main is not None and s in at[main] and found.ratio == 1):
            place = -1
        else:
            known = [i for i, other in enumerate(others) if np.allclose(planes[s], other, rtol=0, atol=_SAME)]
            place = known[0] if known else len(others)
            if not known:
                others.append(planes[s])
        key = place, g
        touching[key] = found.greatest(touching[key]) if key in touching else found
    return Ground(
        height=0.0 if main is None else float(planes[main][3]),
        field=field,
        planes=np.array(others).reshape(-1, 4),
        touching=tuple((g, plane, found) for (plane, g), found in sorted(touching.items())),
    )
