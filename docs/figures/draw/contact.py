"""Draws the picture of the page on gradients near contact: ``python docs/figures/draw/contact.py``.

Runs the Python of ``docs/engine/contact-gradients.md``, so that page and picture cannot differ. Needs matplotlib and
torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

FIGURES = Path(__file__).parents[1]
BLUE, ORANGE, GREEN, GREY = "#2a6fb0", "#d1701f", "#3c8d4f", "#777777"
GOAL, RATE = 0.4, 8.0

plt.style.use(Path(__file__).with_name("page.mplstyle"))


def page() -> dict[str, Any]:
    """The names that the page's examples define."""
    text = (FIGURES.parent / "engine" / "contact-gradients.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(compile(code, "contact-gradients.md", "exec"), names)
    return names


def sweep(ball: Any, forces: np.ndarray, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """Place of the ball [m] and its slope by the force [m/N]."""
    force = torch.tensor(forces, requires_grad=True)
    place = ball(force, **options)
    (slope,) = torch.autograd.grad(place.sum(), force)
    return place.detach().numpy(), slope.numpy()


def distances(ball: Any, steps: int, **options: float) -> list[float]:
    """Distance from the goal [m] in the hard simulation, after each step of gradient descent."""
    force, found = torch.zeros(1, dtype=torch.float64, requires_grad=True), []
    for _ in range(steps + 1):
        found.append(abs(ball(force).item() - GOAL))
        loss = (ball(force, **options) - GOAL).square().sum()
        force.data -= RATE * torch.autograd.grad(loss, force)[0]
    return found


def main() -> None:
    ball = page()["ball_after_1s"]
    forces = np.linspace(0, 4, 401)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 3.1), layout="constrained")
    hard, hard_slope = sweep(ball, forces)
    left.plot(forces, hard, color=BLUE, lw=2, label="hard contact")
    for width, style in ((0.11, "-"), (0.2, "--")):
        label = f"smoothed, w = {width:g} m"
        left.plot(forces, sweep(ball, forces, contact_smoothing=width)[0], style, color=ORANGE, label=label)
    left.axhline(GOAL, color=GREY, lw=0.6)
    left.annotate("goal", (0, GOAL), xytext=(2, 3), textcoords="offset points", fontsize=8, color=GREY)
    left.set(xlabel="force [N]", ylabel="place of the ball after 1 s [m]", xlim=(0, 4), ylim=(-0.02, 0.85))
    left.legend(loc="upper left", fontsize=8)
    middle.axhline(0, color=GREY, lw=0.6)
    middle.plot(forces, hard_slope, color=BLUE, lw=2, label="plain")
    for width, style in ((0.2, "-"), (0.02, ":")):
        label = f"straight-through, w = {width:g} m"
        slope = sweep(ball, forces, backward_smoothing=width)[1]
        middle.plot(forces, slope, style, color=GREEN, label=label)
    middle.set(xlabel="force [N]", ylabel="gradient by the force [m/N]", xlim=(0, 4), ylim=(-0.45, 0.62))
    middle.legend(loc="upper right", fontsize=8)
    kinds = (
        ("plain", BLUE, {}),
        ("smoothed, w = 0.11 m", ORANGE, {"contact_smoothing": 0.11}),
        ("straight-through, w = 0.2 m", GREEN, {"backward_smoothing": 0.2}),
    )
    for label, colour, options in kinds:
        right.semilogy(np.maximum(distances(ball, 60, **options), 1e-12), color=colour, lw=1.6, label=label)
    right.set(xlabel="step of gradient descent", ylabel="distance from the goal [m]", xlim=(0, 60), ylim=(1e-8, 3))
    right.legend(loc="lower left", fontsize=8)
    figure.savefig(FIGURES / "contact_gradients.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
