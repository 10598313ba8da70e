"""Draws the pictures of the pages on the engine and its adjoint: ``python docs/figures/draw/engine.py``.

Needs matplotlib beside diffsim-core. Forces and patterns are computed, not sketched.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._pack import pack
from diffsim_core.rigid.model import JointType, RigidModel
from diffsim_core.tasks._rigid import bundled_model

FIGURES = Path(__file__).parents[1]
BLUE, ORANGE, GREY = "#2a6fb0", "#d1701f", "#777777"

plt.style.use(Path(__file__).with_name("page.mplstyle"))

BALL = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body>
      <joint type="slide" axis="1 0 0"/>
      <joint type="slide" axis="0 0 1"/>
      <geom type="sphere" size="0.1"/>
    </body>
  </worldbody>
</mujoco>
"""


def ball(law: str) -> RigidModel:
    """A sphere that moves along x and z, with the Ant's contact parameters."""
    return load_model(BALL, contact=ContactParams(kn=4e4, kd=1e4, kt=3e3, mu=0.75), contact_law=law)


def ground_force(model: RigidModel, depth: float, vx: float, vz: float) -> np.ndarray:
    """``(f_x, f_z)`` [N] at ``depth`` [m] and a velocity [m/s]."""
    q, qd = np.array([0.0, 0.1 - depth]), np.array([vx, vz])
    return twin.contact_forces(model, twin.kinematics(model, q), qd)


def contact_laws() -> None:
    """Normal force against depth, and friction against slip, for both laws."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.1), layout="constrained")
    depth, slip = np.linspace(0.0, 0.01, 101), np.linspace(0.0, 0.25, 101)
    speeds = {
        -2.0: "approaching, 2 m/s",
        0.0: "at rest (released: leaving too)",
        2.0: "leaving, 2 m/s",
        6.0: "leaving, 6 m/s",
    }
    note = {"textcoords": "offset points", "fontsize": 8}
    for law, colour, style, width in (("paper", BLUE, "-", 2.4), ("released", "#ffb26b", "--", 1.5)):
        model = ball(law)
        for vz, label in speeds.items():
            force = np.array([ground_force(model, d, 0.0, vz)[1] for d in depth])
            left.plot(1e3 * depth, force, style, color=colour, lw=width)
            if law == "paper":
                left.annotate(label, (10, force[-1]), xytext=(3, 0), va="center", **note)
        for k, vz in enumerate((-2.0, 0.0)):
            force = np.array([-ground_force(model, 0.005, v, vz)[0] for v in slip])
            right.plot(slip, force, style, color=colour, lw=width, label=law if k else None)
            if law == "paper":
                label = ("approaching, 2 m/s", "at rest")[k]
                right.annotate(label, (0.25, force[-1]), xytext=(0, 4), ha="right", **note)
    left.axhline(0, color=GREY, lw=0.6)
    left.set(xlabel="depth [mm]", ylabel="normal force [N]", xlim=(0, 15.5))
    left.set_xticks([0, 2, 4, 6, 8, 10])
    right.set(xlabel="slip speed [m/s]", ylabel="friction at a depth of 5 mm [N]", xlim=(0, 0.25), ylim=(0, 245))
    right.legend(loc="lower right")
    save(figure, "contact_laws")


def mass_matrix() -> None:
    """The Ant's tree of joints, and which entries of its mass matrix are stored."""
    model = bundled_model("ant")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2), layout="constrained", width_ratios=(1.5, 1))
    _tree(left, model)
    packed = pack(model)
    stored = set(
        zip(np.repeat(np.arange(model.nv), np.diff([*packed.row, packed.num_entries])), packed.ancestor, strict=True)
    )
    for row in range(model.nv):
        for column in range(row + 1):
            kept = (row, column) in stored
            right.add_patch(Rectangle((column, row), 0.9, 0.9, color=BLUE if kept else "#e4e4e4", lw=0))
    right.set(xlim=(-0.2, model.nv), ylim=(model.nv, -0.2), aspect="equal")
    ticks = np.arange(model.nv) + 0.45
    names = [*"xyz", "ωx", "ωy", "ωz", *model.joint_name[1:]]
    right.set_xticks(ticks, names, rotation=90, fontsize=7)
    right.set_yticks(ticks, names, fontsize=7)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    save(figure, "mass_matrix")


def _tree(axes: Axes, model: RigidModel) -> None:
    place: dict[int, tuple[float, float]] = {}
    legs = 0
    for i, parent in enumerate(model.link_parent):
        if model.joint_type[i] == JointType.FREE:
            place[i] = (0.0, 0.0)
        elif place[int(parent)][1] == 0:
            legs += 1
            place[i] = (1.5 * (legs - 2.5), -1.1)
        else:
            place[i] = (place[int(parent)][0], -2.2)
    for i, parent in enumerate(model.link_parent):
        x, y = place[i]
        px, py = place[int(parent)] if parent >= 0 else (0.0, 0.9)
        axes.plot([x, px], [y, py], color=GREY, lw=1, zorder=0)
        axes.add_patch(Circle((x, y), 0.27, facecolor="white", edgecolor=BLUE, lw=1.3))
        axes.text(x, y, str(i), ha="center", va="center", fontsize=9)
        kind = JointType(int(model.joint_type[i])).name.lower()
        columns = f"q {model.joint_q[i]}" if kind != "free" else "q 0-6, qd 0-5"
        label = f"{model.joint_name[i]}\n{kind}, {columns}" if kind == "free" else f"{model.joint_name[i]}\n{columns}"
        axes.text(x + 0.36, y + 0.1 * (kind == "free"), label, ha="left", va="center", fontsize=7)
    axes.plot([-0.5, 0.5], [0.9, 0.9], color="black", lw=1.5)
    axes.text(0.6, 0.9, "world", va="center", fontsize=8)
    axes.set(xlim=(-2.7, 3.0), ylim=(-2.6, 1.1), aspect="equal")
    axes.axis("off")


def lowest_point() -> None:
    """A sphere before and after its link turns: the contact point is not the material point that was there."""
    figure, axes = plt.subplots(figsize=(6.4, 2.9), layout="constrained")
    r, turn = 0.5, np.deg2rad(34)
    anchor, reach = np.array([0.0, 1.45]), np.array([0.0, -1.02])
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    down = np.array([0.0, -r])
    for k, (rotation, colour) in enumerate(((np.eye(2), GREY), (spin, BLUE))):
        c = anchor + rotation @ reach
        axes.plot(*zip(anchor, c, strict=True), color=colour, lw=1.2)
        axes.add_patch(Circle(tuple(c), r, facecolor="none", edgecolor=colour, lw=1.3))
        axes.plot(*c, "o", color=colour, ms=3)
        axes.plot(*zip(c, c + rotation @ down, strict=True), color=colour, lw=0.8, ls=":")
        lowest = c + down
        axes.plot(*lowest, "o", color=colour, ms=5, zorder=3)
        axes.annotate("$c$", c, xytext=(6, 0), textcoords="offset points", color=colour)
        if k:
            carried = c + spin @ down
            axes.plot(*zip(c, lowest, strict=True), color=colour, lw=0.8)
            axes.plot(*carried, "o", markerfacecolor="white", markeredgecolor=colour, ms=5)
            axes.annotate("", lowest, carried, arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 1.4})
            axes.annotate(r"$p=c-r\,e_z$", lowest, xytext=(-46, -17), textcoords="offset points", color=colour)
            middle = (carried + lowest) / 2
            axes.annotate(
                r"$\epsilon\approx r\,\delta_\omega\times e_z$",
                middle,
                xytext=(-120, 30),
                textcoords="offset points",
                color=ORANGE,
                arrowprops={"arrowstyle": "-", "color": ORANGE, "lw": 0.6},
            )
        else:
            axes.annotate("$p$", lowest, xytext=(6, -12), textcoords="offset points", color=colour)
    axes.plot(*anchor, "s", color="black", ms=5)
    axes.annotate("joint", anchor, xytext=(8, -2), textcoords="offset points")
    axes.axhline(0.06, color="black", lw=1)
    axes.text(1.62, 0.09, "ground", ha="right", va="bottom")
    axes.set(xlim=(-2.1, 1.65), ylim=(-0.35, 1.6), aspect="equal")
    axes.axis("off")
    save(figure, "lowest_point")


def save(figure: Figure, name: str) -> None:
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    contact_laws()
    mass_matrix()
    lowest_point()
