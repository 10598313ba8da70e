"""Draws the picture of the page on system identification: ``python docs/figures/draw/identification.py``.

Runs the Python of ``docs/engine/system-identification.md``, so that page and picture cannot differ. Needs matplotlib
and torch.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

FIGURES = Path(__file__).parents[1]
BLUE, ORANGE, GREY = "#2a6fb0", "#d1701f", "#777777"

plt.style.use(Path(__file__).with_name("page.mplstyle"))


def page() -> dict[str, Any]:
    """The names that the page's examples define."""
    text = (FIGURES.parent / "engine" / "system-identification.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(compile(code, "system-identification.md", "exec"), names)
    return names


def main() -> None:
    begin = time.perf_counter()
    names = page()
    print(f"{time.perf_counter() - begin:.1f} s")
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
    for label, key, truth, colour in (
        ("pole's mass, cart-pole", "pole_history", 0.7, BLUE),
        ("foot's friction, hopper", "foot_history", 0.5, ORANGE),
    ):
        losses, values = zip(*names[key], strict=True)
        print(f"{label}: {abs(values[-1] / truth - 1):.2%} off")
        left.semilogy(losses, color=colour, label=label)
        right.plot([value / truth for value in values], color=colour)
    left.axhline(1e-6, color=GREY, lw=0.8, ls=":")
    left.set_ylim(4e-7)
    left.text(79, 9e-7, "noise", color=GREY, ha="right", va="top")
    right.axhline(1, color=GREY, lw=0.8, ls=":")
    left.set(xlabel="update", ylabel="mean square error [m², rad²]")
    right.set(xlabel="update", ylabel="value / true value")
    left.legend()
    figure.savefig(FIGURES / "identification.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
