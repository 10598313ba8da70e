"""Draws the hands of the page on tasks on particles: ``python docs/figures/draw/hand.py RUN NAME``.

RUN is the run folder of a policy of hand_flip or hand_flip_small. NAME is that of the picture: ``hand_flip.png`` has
four moments, one that ends in ``.gif`` the first 0.4 s. Needs diffrl-algos, Pillow and Chromium.
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
"""Of the four pictures [s]."""
CLIP, CLIP_SIZE = (0.0, 0.4, 0.02), (400, 300)
"""First and last moment of a clip, and the time between two pictures [s]; pixels of a picture."""
VIEW = "play=0&controls=0&theme=light&distance=0.8&elevation=28&azimuth=-35"
SIZE = (640, 480)
FLAGS = ("--headless", "--no-sandbox", "--hide-scrollbars", "--use-gl=angle", "--use-angle=swiftshader")


def shoot(page: Path, time: float, out: Path) -> Image.Image:
    """A picture of the page at a time."""
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    options = ["--enable-unsafe-swiftshader", "--virtual-time-budget=3000", size, f"--screenshot={out}"]
    subprocess.run(["chromium", *FLAGS, *options, f"{page.as_uri()}#t={time}&{VIEW}"], check=True, capture_output=True)
    return Image.open(out).convert("RGB")


def sheet(pictures: list[Image.Image], out: Path) -> None:
    """Two by two."""
    paper = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]))
    for k, picture in enumerate(pictures):
        paper.paste(picture, (k % 2 * SIZE[0], k // 2 * SIZE[1]))
    paper.quantize(128).save(out, optimize=True)


def clip(pictures: list[Image.Image], out: Path) -> None:
    """One after the other, the last one longer."""
    small = [picture.resize(CLIP_SIZE, Image.Resampling.LANCZOS) for picture in pictures]
    palette = small[len(small) // 2].quantize(64, method=Image.Quantize.MEDIANCUT)
    first, *rest = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small]
    shown = [100] * len(rest) + [1500]
    first.save(out, save_all=True, append_images=rest, duration=shown, loop=0, optimize=True)


def main(run: str, name: str) -> None:
    motion = play_run(Path(run), seconds=0.6, worlds=1).motion()
    print(f"return {motion.curves['reward'][:, 0].sum():.1f}")
    begin, end, step = CLIP
    moving = name.endswith(".gif")
    times = [begin + k * step for k in range(round((end - begin) / step) + 1)] if moving else TIMES
    with tempfile.TemporaryDirectory() as folder:
        page = write_html(motion, Path(folder) / "page.html")
        print(f"{motion.num_frames} frames: {page.stat().st_size:,} bytes")
        pictures = [shoot(page, time, Path(folder) / f"{k}.png") for k, time in enumerate(times)]
    (clip if moving else sheet)(pictures, FIGURES / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
