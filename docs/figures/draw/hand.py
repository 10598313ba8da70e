"""Draws the picture of the page on tasks on particles: ``python docs/figures/draw/hand.py RUN``.

The argument is the run folder of a policy of hand_flip. Needs diffrl-algos, Pillow and Chromium.
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
TIMES = (0.0, 0.15, 0.3, 0.59)
"""Of the pictures [s]."""
VIEW = "play=0&controls=0&theme=light&distance=0.8&elevation=28&azimuth=-35"
SIZE = (640, 480)
FLAGS = ("--headless", "--no-sandbox", "--hide-scrollbars", "--use-gl=angle", "--use-angle=swiftshader")


def shoot(page: Path, time: float, out: Path) -> Image.Image:
    """A picture of the page at a time."""
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    options = ["--enable-unsafe-swiftshader", "--virtual-time-budget=3000", size, f"--screenshot={out}"]
    subprocess.run(["chromium", *FLAGS, *options, f"{page.as_uri()}#t={time}&{VIEW}"], check=True, capture_output=True)
    return Image.open(out).convert("RGB")


def main(run: str) -> None:
    motion = play_run(Path(run), seconds=0.6, worlds=1).motion()
    print(f"return {motion.curves['reward'][:, 0].sum():.1f}")
    sheet = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]))
    with tempfile.TemporaryDirectory() as folder:
        page = write_html(motion, Path(folder) / "page.html")
        print(f"{motion.num_frames} frames: {page.stat().st_size:,} bytes")
        for k, time in enumerate(TIMES):
            picture = shoot(page, time, Path(folder) / f"{k}.png")
            sheet.paste(picture, (k % 2 * SIZE[0], k // 2 * SIZE[1]))
    sheet.quantize(128).save(FIGURES / "hand_flip.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
