"""Draws the picture of rigid bodies on the page about coupling: ``python docs/figures/draw/ball_in_dough.py``.

A ball and a box fall onto a slab of dough. Writes ``docs/figures/ball-in-dough.png``. Needs Pillow and OpenGL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diffsim_core import differentiable
from diffsim_core.viewer import Footage, render
from diffsim_mpm import Box, MpmBody, MpmDynamics, MpmModel, RigidBody, Sphere

FIGURES = Path(__file__).parents[1]
CELLS, SIDE = 40, 0.5 / 40
SECONDS, DT = 0.6, 2e-3
SHOWN = (0.0, 0.16, 0.6)
"""Times of the pictures [s]."""


def scene() -> MpmModel:
    """A slab on the ground, and two bodies above it."""
    counts = (32, 32, 12)
    axes = [low + SIDE * (np.arange(count) + 0.5) for low, count in zip((0.3, 0.3, 0.06), counts, strict=True)]
    dough = MpmBody(
        name="dough",
        particles=np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3),
        volume=SIDE**3,
        density=1000.0,
        material="von_mises",
        parameters={"E": 2e4, "nu": 0.3, "yield_stress": 600.0},
    )
    zone = {"friction": 0.5, "softness": 60.0}
    ball = RigidBody.solid(name="ball", shapes=[Sphere(radius=0.07, **zone)], density=2500.0, pos=(0.43, 0.5, 0.37))
    brick = RigidBody.solid(
        name="brick",
        shapes=[Box(half_sizes=(0.05, 0.08, 0.04), **zone)],
        density=800.0,
        pos=(0.6, 0.5, 0.37),
        quat=(0.9, 0.1, 0.35, 0.2),
    )
    return MpmModel(
        bodies=[dough], cells=(CELLS,) * 3, dx=1 / CELLS, ground_friction=np.inf, rigid_bodies=[ball, brick]
    )


def main() -> None:
    import torch

    dynamics = MpmDynamics(scene(), dt=DT, substeps=8)
    step, state, frames = differentiable(dynamics), dynamics.state_type(*map(torch.from_numpy, dynamics.rest())), []
    for _ in range(round(SECONDS / DT)):
        frames.append(state)
        with torch.no_grad():
            state, ok = step(state, ())
        assert ok.all()
    frames.append(state)
    physics = dynamics.state_type(*(np.stack([np.asarray(a) for a in each]) for each in zip(*frames, strict=True)))
    begins = np.arange(len(frames))[:, None] == 0
    motion = dynamics.motion(Footage(physics, np.zeros((len(frames), 1, 0)), begins, {}), name="dough", dt=DT)
    view = {"width": 480, "height": 400, "azimuth": 115.0, "elevation": -18.0, "distance": 1.0}
    pictures = [Image.fromarray(p) for p in render(motion, [round(t / DT) for t in SHOWN], **view)]
    strip = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
    for k, picture in enumerate(pictures):
        strip.paste(picture, (k * picture.width, 0))
    strip = strip.resize((strip.width * 2 // 3, strip.height * 2 // 3), Image.Resampling.LANCZOS)
    strip.quantize(128).save(FIGURES / "ball-in-dough.png", optimize=True)


if __name__ == "__main__":
    main()
