"""One HTML file that shows a motion in three dimensions, without a server, a network or an installation."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from diffsim_core.viewer._encode import encode

if TYPE_CHECKING:  # a motion shows itself by this module
    from diffsim_core.viewer._motion import Motion

_SCRIPTS = ("algebra", "meshes", "motion", "renderer", "soft", "scene", "camera", "charts", "main")


def html_page(motion: Motion) -> str:
    """The whole page as text.

    It needs a browser with WebGL 2, and its content policy forbids it to fetch anything. The part of its address after
    ``#`` sets the initial view: ``t`` [s], ``play`` (0 or 1), ``speed``, ``world``, ``theme`` (light or dark),
    ``azimuth``, ``elevation`` [degrees], ``distance`` [m], ``shade`` (what colours soft bodies) and ``controls`` (0
    hides them), as in ``ant.html#t=2&play=0&theme=dark``.
    """
    data = encode(motion)
    # JSON allows "<" as an escape, which cannot end the element or begin a comment
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    metre = data["contacts"]["newtonsPerMetre"]
    return Template(_read("page.html")).substitute(
        style=_read("style.css"),
        script="\n".join(_read(f"{name}.js") for name in _SCRIPTS),
        motion=text,
        legend=f"An arrow of a metre is a contact force of {metre:g} N; muscles turn red as they are activated.",
    )


def write_html(motion: Motion, path: str | Path) -> Path:
    """Write :func:`html_page` to a file and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.write_text(html_page(motion), encoding="utf-8")
    return path


def _read(name: str) -> str:
    return (resources.files("diffsim_core.viewer") / "_page" / name).read_text(encoding="utf-8")
