"""Draws the robots of the included tasks from their models' shapes: ``python docs/figures/draw/robots.py``.

Every robot stands as an episode begins, noise aside, but for Walker2d, which shows both legs; all are to one scale.
Needs matplotlib and torch beside diffsim-core.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from diffsim_core import make
from diffsim_core.rigid import Geom, RigidModel, twin

FIGURES = Path(__file__).parents[1]
TASKS = {"cartpole": 0, "hopper": 0, "half_cheetah": 0, "walker2d": 0, "ant": 35, "humanoid": 55}
"""For each task the camera's turn from the side view towards the front [degrees]."""
STRIDE = {"walker2d": {2: -0.2, 3: -0.6, 4: -0.3, 7: -0.25, 8: 0.25}}
"""Coordinates that differ from the start of an episode, so that both legs can be seen."""
WIDTH = {"cartpole": 1.5, "hopper": 1.2, "half_cheetah": 1.75, "walker2d": 1.3, "ant": 2.3, "humanoid": 1.1}
"""Of each panel [m]."""
HEIGHT = 2.05
ELEVATION = np.deg2rad(12)
OUTLINE = "#333333"


def camera(turn: float) -> np.ndarray:
    """Rows are the directions right, up and towards the viewer, in the world's axes."""
    a = np.deg2rad(turn)
    lift = ELEVATION if turn else 0.0
    right = np.array([np.cos(a), np.sin(a), 0])
    towards = np.array([np.sin(a) * np.cos(lift), -np.cos(a) * np.cos(lift), np.sin(lift)])
    return np.stack([right, np.cross(towards, right), towards])


def area(a: np.ndarray, b: np.ndarray) -> float:
    """Of the parallelogram, positive if ``b`` lies to the left of ``a``."""
    return a[0] * b[1] - a[1] * b[0]


def hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of points in the plane, counter-clockwise."""
    order = points[np.lexsort(points.T[::-1])]
    halves = []
    for row in (order, order[::-1]):
        chain: list[np.ndarray] = []
        for p in row:
            while len(chain) > 1 and area(chain[-1] - chain[-2], p - chain[-2]) <= 0:
                chain.pop()
            chain.append(p)
        halves.append(chain[:-1])
    return np.array(halves[0] + halves[1])


def surface(geom: Geom) -> tuple[np.ndarray, float]:
    """Points whose convex hull, grown by a radius, is the shape, in its own frame."""
    if geom.type == "box":
        corners = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(-1, 3)
        return corners * geom.size[:3], 0.0
    half = geom.size[1] if geom.type == "capsule" else 0.0
    return np.array([[0, 0, half], [0, 0, -half]]), float(geom.size[0])


def outline(points: np.ndarray, radius: float) -> np.ndarray:
    """Outline of projected points ``[n, 2]`` grown by a radius."""
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return hull((points[:, None] + (circle if radius else np.zeros((1, 2)))).reshape(-1, 2))


def draw(axes: Axes, model: RigidModel, q: np.ndarray, turn: float) -> None:
    """All moving shapes, the farthest first, and shadows on the ground."""
    view, kin = camera(turn), twin.kinematics(model, q)
    grounded = any(geom.type == "plane" for geom in model.geoms)
    shapes = []
    for geom in model.geoms:
        if geom.link < 0:
            continue
        R, x = kin.rotation[geom.link], kin.position[geom.link]
        points, radius = surface(geom)
        world = x + (geom.pos + points @ twin.rotation_matrix(geom.quat).T) @ R.T
        shapes.append((float((world @ view[2]).max()), world, radius, geom))
    middle = np.mean([world.mean(axis=0) @ view[0] for _, world, _, _ in shapes])
    if grounded and turn:
        for _, world, radius, _ in shapes:
            sky = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = radius * np.stack([np.cos(sky), np.sin(sky), 0 * sky], axis=1)
            shadow = ((world * [1, 1, 0])[:, None] + ring).reshape(-1, 3) @ view[:2].T
            axes.add_patch(Polygon(hull(shadow) - [middle, 0], color="#dddddd", lw=0, zorder=0))
    for k, (_, world, radius, geom) in enumerate(sorted(shapes, key=lambda row: row[0])):
        flat = outline(world @ view[:2].T, radius) - [middle, 0]
        axes.add_patch(Polygon(flat, facecolor=geom.rgba[:3], edgecolor=OUTLINE, lw=0.6, zorder=1 + k))
    if not turn:
        axes.axhline(0, color=OUTLINE, lw=0.8, zorder=0)


def strip() -> None:
    """One panel for each task."""
    figure, panels = plt.subplots(
        1, len(TASKS), figsize=(9.6, 2.35), layout="constrained", width_ratios=list(WIDTH.values())
    )
    for axes, (task, turn) in zip(panels, TASKS.items(), strict=True):
        env = make(task, num_envs=1, dtype="float64", random_start=False)
        q = env.reset(0)[0].physics.q.numpy()[0]
        for column, angle in STRIDE.get(task, {}).items():
            q[column] += angle
        draw(axes, env.task.dynamics.model, q, turn)
        bottom, half = (-1.25 if task == "cartpole" else -0.35), WIDTH[task] / 2
        axes.set(xlim=(-half, half), ylim=(bottom, bottom + HEIGHT), aspect="equal")
        axes.axis("off")
        axes.set_title(task, fontsize=9)
    figure.savefig(FIGURES / "robots.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    plt.rcParams.update({"figure.facecolor": "white", "font.size": 9, "svg.hashsalt": "diffsim"})
    strip()
