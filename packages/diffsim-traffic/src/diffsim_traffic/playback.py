"""Scenes as one HTML file that plays offline in any browser."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_traffic.scene import Scene

_PLACE = "/*SCENES*/null"


def write_html(scene: Scene | Mapping[str, Scene], path: str | os.PathLike[str], *, title: str = "Traffic") -> Path:
    """Write scenes as a page with play, pause, slow motion, scrubbing and zoom.

    On a straight road the view moves with the controlled vehicle (or the front driver); a ring is drawn as a circle.
    Drivers are coloured by speed. Positions are stored to a centimetre.

    Args:
        scene: one scene, or several by name, all on the same road with the same vehicles.
        path: file to write.
        title: title of the page.

    Returns:
        The path.

    Raises:
        ValueError: there is no scene, or the scenes have different roads or vehicles.
        OSError: the file cannot be written.
    """
    scenes = {"scene": scene} if isinstance(scene, Scene) else dict(scene)
    if not scenes:
        raise ValueError("scene is empty; give at least one")
    first = next(iter(scenes.values()))
    for name, other in scenes.items():
        same = other.model.road == first.model.road and other.model.num_controlled == first.model.num_controlled
        if not same or other.dt != first.dt or other.model.num_vehicles != first.model.num_vehicles:
            raise ValueError(f"scene {name!r} has another road, step or number of vehicles than the first scene")
    road = first.model.road
    data = {
        "title": title,
        "dt": first.dt,
        "lanes": road.num_lanes,
        "width": road.lane_width,
        "ring": road.circumference,
        "controlled": first.model.num_controlled,
        "scenes": [{"name": name, **_numbers(one)} for name, one in scenes.items()],
    }
    page = (resources.files("diffsim_traffic") / "_playback.html").read_text(encoding="utf-8")
    # "</" would end the script element that holds the data
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    path = Path(path)
    path.write_text(page.replace(_PLACE, text), encoding="utf-8")
    return path


def _numbers(scene: Scene) -> dict[str, Any]:
    return {
        "length": scene.model.lengths.tolist(),
        "x": np.round(scene.x, 2).tolist(),
        "v": np.round(scene.v, 2).tolist(),
        "y": np.round(scene.lateral(), 2).tolist(),
        "psi": np.round(scene.psi, 3).tolist(),
    }
