"""The moving clip that the README begins with: ``python docs/figures/draw/clip.py RUN``.

``RUN`` is the folder of an Ant that has learned to run: ``diffrl train shac ant --seed 0 --out RUN``. Writes
``docs/figures/ant-running.gif`` from pictures of the viewer's page. Needs diffrl-algos, Pillow and Chromium.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from diffrl_algos._clips import play_run
from diffsim_core.viewer import write_html

FIGURES = Path(__file__).parents[1]
BROWSER = FIGURES.parents[1] / "packages/diffsim-core/tests/viewer/browser.py"
BEGIN, SECONDS, FPS = 4.0, 4.0, 20
"""The clip leaves out the start, in which the robots land and turn."""
WORLDS, SIZE, DRAWN = 2, (640, 320), 2
"""Worlds side by side; pixels of the clip, and how many times larger a picture is drawn, so that edges are smooth."""
VIEW = "play=0&controls=0&theme=dark&world=0&azimuth=-60&elevation=16&distance=3.3"
COLORS = 80


def browser() -> Any:
    """The module with which the viewer's tests drive Chromium."""
    spec = importlib.util.spec_from_file_location("browser", BROWSER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(page: Path, home: Path) -> list[Image.Image]:
    """Frames of the clip, in one palette."""
    drawn = []
    size = (DRAWN * SIZE[0], DRAWN * SIZE[1])
    with browser().Page(f"{page.as_uri()}#{VIEW}", home, size) as view:
        view.evaluate("document.getElementById('head').hidden = true")
        view.key("c")  # no arrows for contact forces
        for k in range(round(SECONDS * FPS)):
            view.evaluate(f"location.hash = '{VIEW}&t={BEGIN + k / FPS}'")
            view.drawn()
            frame = Image.open(io.BytesIO(view.picture())).convert("RGB")
            drawn.append(frame.resize(SIZE, Image.Resampling.LANCZOS))
    palette = drawn[0].quantize(COLORS, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in drawn]


def main(run: str) -> None:
    motion = play_run(Path(run), seconds=BEGIN + SECONDS, worlds=WORLDS).motion()
    with tempfile.TemporaryDirectory() as folder:
        page = write_html(motion, Path(folder) / "page.html")
        first, *rest = pictures(page, Path(folder) / "home")
    out = FIGURES / "ant-running.gif"
    first.save(out, save_all=True, append_images=rest, duration=round(1000 / FPS), loop=0, optimize=True)
    print(f"{out.name}: {len(rest) + 1} frames, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
