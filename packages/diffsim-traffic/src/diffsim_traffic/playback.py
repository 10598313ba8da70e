"""A scene as one HTML file that plays in any browser, without a network."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np

from diffsim_traffic.scene import Scene

_PLACE = "/*SCENE*/null"


def write_html(scene: Scene, path: str | os.PathLike[str], *, title: str = "Traffic") -> Path:
    """Write the scene as a page with play, pause, slow motion, scrubbing and zoom.

    A straight road is followed along the vehicle under control (or the front driver); a ring is drawn as a circle.
    Drivers are coloured by speed. Positions are kept to a centimetre.

    Args:
        scene: What to play.
        path: Where to write.
        title: Of the page.

    Returns:
        The path.

    Raises:
        OSError: if the file cannot be written.
    """
    road = scene.model.road
    data = {
        "title": title,
        "dt": scene.dt,
        "lanes": road.num_lanes,
        "width": road.lane_width,
        "ring": road.circumference,
        "controlled": scene.model.num_controlled,
        "length": scene.model.lengths.tolist(),
        "x": np.round(scene.x, 2).tolist(),
        "v": np.round(scene.v, 2).tolist(),
        "y": np.round(scene.lateral(), 2).tolist(),
        "psi": np.round(scene.psi, 3).tolist(),
    }
    page = (resources.files("diffsim_traffic") / "_playback.html").read_text(encoding="utf-8")
    # "</" would end the script that the data are in, whatever the title is
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    path = Path(path)
    path.write_text(page.replace(_PLACE, text), encoding="utf-8")
    return path
