"""Draws the picture of the page on recovering a material: ``python docs/figures/draw/squeezed.py``.

Runs the Python of ``docs/deformables/inverse.md``, so that page and picture cannot differ. Needs matplotlib and torch.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

FIGURES = Path(__file__).parents[1]
BLUE, ORANGE, GREY = "#2a6fb0", "#d1701f", "#777777"

plt.style.use(Path(__file__).with_name("page.mplstyle"))


def page() -> dict[str, Any]:
    """The names that the page's examples define."""
    text = (FIGURES.parent / "deformables" / "inverse.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(compile(code, "inverse.md", "exec"), names)
    return names


def main() -> None:
    begin = time.perf_counter()
    names = page()
    print(f"{time.perf_counter() - begin:.1f} s")
    figure, (shape, left, right) = plt.subplots(1, 3, figsize=(7.4, 2.5), layout="constrained")
    frames = names["recorded"][:, 1].numpy()
    for frame, colour, label in ((0, GREY, "first"), (-1, BLUE, "last")):
        points = frames[frame]
        middle = np.abs(points[:, 1] - 0.5) < 0.03
        shape.plot(points[middle, 0], points[middle, 2], ".", ms=5, color=colour, label=label)
    shape.set(xlabel="x [m]", ylabel="z [m]", aspect="equal")
    shape.legend(loc="upper center", ncols=2, columnspacing=0.6, handletextpad=0.1)
    shape.set_ylim(0.09, 0.42)
    losses, E, yield_stress = zip(*names["history"], strict=True)
    left.semilogy(losses, color=GREY)
    left.axhline(1e-6, color=GREY, lw=0.8, ls=":")
    left.set_ylim(4e-7)
    left.text(len(losses) - 1, 9e-7, "noise", color=GREY, ha="right", va="top")
    truth = names["truth"].tolist()
    for values, true, colour, label in (
        (E, truth[0], BLUE, "Young's modulus"),
        (yield_stress, truth[1], ORANGE, "yield stress"),
    ):
        right.plot(np.array(values) / true, color=colour, label=label)
    right.axhline(1, color=GREY, lw=0.8, ls=":")
    left.set(xlabel="update", ylabel="mean square error [m²]")
    right.set(xlabel="update", ylabel="value / true value")
    right.legend()
    figure.savefig(FIGURES / "squeezed.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
