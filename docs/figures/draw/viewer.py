"""Pictures of the viewer and the motion of the embedded page: ``python docs/figures/draw/viewer.py ANT HUMANOID MTU``.

The arguments are run folders of trained policies. Needs diffrl-algos, Pillow and Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from diffrl_algos._clips import play_run
from diffsim_core.viewer import write_html

FIGURES = Path(__file__).parents[1]
SECONDS, WORLDS = 6.0, 4
VIEWS = {
    "ant": "t=4.35&world=2&azimuth=-55&distance=4.6&theme=dark",
    "humanoid": "t=4.88&world=1&azimuth=-65&distance=5.5&theme=light",
    "humanoid_mtu": "t=5.3&world=2&azimuth=-75&distance=2.3&theme=light",
}
SIZE = (960, 640)
EMBEDDED = "ant", slice(200, 320), 2
"""Whose motion the documentation plays, which frames, and of which world."""
FLAGS = ("--headless", "--no-sandbox", "--hide-scrollbars", "--use-gl=angle", "--use-angle=swiftshader")


def shoot(page: Path, view: str, out: Path) -> None:
    """A picture of the page in a palette of 256 colours."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        address = f"{page.as_uri()}#play=0&{view}"
        options = ["--enable-unsafe-swiftshader", "--virtual-time-budget=3000", size, f"--screenshot={raw}"]
        subprocess.run(["chromium", *FLAGS, *options, address], check=True, capture_output=True)
        Image.open(raw).convert("RGB").quantize(256).save(out, optimize=True)


def main(runs: list[str]) -> None:
    for (task, view), run in zip(VIEWS.items(), runs, strict=True):
        motion = play_run(Path(run), seconds=SECONDS, worlds=WORLDS).motion()
        with tempfile.TemporaryDirectory() as folder:
            page = write_html(motion, Path(folder) / "page.html")
            print(task, f"{motion.num_frames} frames, {motion.num_worlds} worlds: {page.stat().st_size:,} bytes")
            shoot(page, view, FIGURES / f"viewer-{task}.png")
        if task == EMBEDDED[0]:
            motion.select(EMBEDDED[1], [EMBEDDED[2]]).save(FIGURES / "viewer-embedded.npz")


if __name__ == "__main__":
    main(sys.argv[1:])
