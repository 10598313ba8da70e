"""Draws the legs of ``humanoid_mtu`` and the curves of a Hill-type muscle: ``python docs/figures/draw/muscles.py``.

Needs matplotlib beside diffsim-core.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from robots import camera, hull, surface

from diffsim_core.rigid import RigidModel, twin
from diffsim_core.tasks.humanoid_mtu import load_legs

FIGURES = Path(__file__).parents[1]
BONE, TENDON = "#e8e3da", "#a02c2c"


def draw_legs(axes: Axes, model: RigidModel, q: np.ndarray, turn: float, side: str | None = None) -> None:
    """Bones as boxes, muscles as lines as thick as they are strong; one side's muscles only, if asked."""
    view, kin = camera(turn), twin.kinematics(model, q)
    for geom in model.geoms:
        if geom.link < 0 or (side and geom.name.endswith({"left": "right", "right": "left"}[side])):
            continue
        points, _ = surface(geom)
        local = geom.pos + points @ twin.rotation_matrix(geom.quat).T
        flat = (kin.position[geom.link] + local @ kin.rotation[geom.link].T) @ view[:2].T
        axes.add_patch(Polygon(hull(flat), facecolor=BONE, edgecolor="#555555", lw=0.6, alpha=0.9))
    muscles = model.muscles
    for i in range(muscles.n):
        if side and not muscles.name[i].endswith(side):
            continue
        for s in muscles.segments(i):
            ends = [
                (kin.position[link] + kin.rotation[link] @ pos) @ view[:2].T
                for link, pos in zip(muscles.segment_link[s], muscles.segment_pos[s], strict=True)
            ]
            x, y = zip(*ends, strict=True)
            axes.plot(x, y, color=TENDON, lw=0.3 + abs(muscles.gear[i]) / 250, alpha=0.75, solid_capstyle="round")
    if not turn:
        axes.axhline(0, color="#333333", lw=0.8)
    axes.set(aspect="equal", ylim=(-0.03, 1.1))
    axes.axis("off")


def legs() -> None:
    """From the front, from the left, and the left leg with its knee bent."""
    model = load_legs()
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 4.4), layout="constrained")
    bent = model.q_ref.copy()
    dof = dict(zip(model.joint_name, model.joint_q, strict=True))
    bent[dof["tibia_left"]] = 1.2
    half = 0.35
    bent[dof["femur_left"] : dof["femur_left"] + 4] = np.cos(half), 0, -np.sin(half), 0
    for axes, title, q, turn, side in (
        (panels[0], "front", model.q_ref, 90.0, None),
        (panels[1], "left side", model.q_ref, 0.0, "left"),
        (panels[2], "hip and knee bent", bent, 0.0, "left"),
    ):
        draw_legs(axes, model, q, turn, side)
        axes.set_title(title, fontsize=9)
    figure.savefig(FIGURES / "legs.svg", metadata={"Date": None})
    plt.close(figure)


def curves() -> None:
    """Force over length and over velocity, and the rise and fall of an activation."""
    from diffsim_core.rigid._twin_muscles import activation_rate, force_length, force_passive, force_velocity
    from diffsim_core.rigid.muscles import HillConstants

    figure, panels = plt.subplots(1, 3, figsize=(9.0, 2.6), layout="constrained")
    x = np.linspace(0.4, 1.8, 300)
    panels[0].plot(x, [force_length(v, 0.5, 1.6) for v in x], label="active, FL")
    panels[0].plot(x, [force_passive(v, 1.6, 1.3) for v in x], label="passive, FP")
    panels[0].set(xlabel="length / optimal length", ylabel="force / F0", title="lmin 0.5, lmax 1.6, fpmax 1.3")
    panels[0].legend(frameon=False)
    v = np.linspace(-1.3, 0.6, 300)
    panels[1].plot(v, [force_velocity(w, 1.2) for w in v])
    panels[1].set(xlabel="velocity / vmax (shortening < 0)", ylabel="FV", title="fvmax 1.2")
    for smooth, style in ((0.0, "-"), (0.5, "--")):
        h = HillConstants(0, 1, 0.75, 1.05, 1, 0.5, 1.6, 1.5, 1.3, 1.2, 0.01, 0.04, smooth)
        act, trace, dt = 0.0, [], 1e-4
        for k in range(4000):
            act += dt * activation_rate(h, float(k < 2000), act)
            trace.append(act)
        panels[2].plot(np.arange(4000) * dt, trace, style, label=f"tausmooth {smooth:g}")
    panels[2].set(xlabel="time [s]", ylabel="activation", title="control 1 for 0.2 s")
    panels[2].legend(frameon=False)
    for axes in panels:
        axes.title.set_fontsize(9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURES / "muscle_curves.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    plt.rcParams.update({"figure.facecolor": "white", "font.size": 9, "svg.hashsalt": "diffsim"})
    legs()
    curves()
