"""Draws the curves of the page on materials: ``python docs/figures/draw/materials.py``.

Needs matplotlib beside diffsim-mpm.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from diffsim_mpm import MaterialProbe

FIGURES = Path(__file__).parents[1]
COLOURS = {"fixed_corotated": "#2a6fb0", "neo_hookean": "#d1701f", "von_mises": "#3c8d4f"}
GREY = "#777777"

plt.style.use(Path(__file__).with_name("page.mplstyle"))


def elastic(axes: Axes) -> None:
    """Stress along a stretch with fixed sides, over Young's modulus."""
    stretch = np.linspace(0.35, 1.8, 200)
    F = np.array([np.diag([s, 1, 1]) for s in stretch])
    for name, colour in COLOURS.items():
        probe = MaterialProbe(name)
        values = {"E": 1.0, "nu": 0.3} | ({"yield_stress": math.inf} if name == "von_mises" else {})
        label = "Hencky" if name == "von_mises" else name
        axes.plot(stretch, probe.stress(F, probe.material.row(**values)).tau[:, 0, 0], color=colour, label=label)
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set(xlabel="stretch, sides fixed", ylabel=r"$\tau_{xx} / E$", ylim=(-1.6, 2), title="elastic")
    axes.legend(fontsize=7)


def plasticine(axes: Axes) -> None:
    """A bar with free sides is pulled, let go, pressed and let go."""
    probe = MaterialProbe("von_mises")
    p, F, step = probe.material.row(), np.eye(3), 1e-3
    strain, stress = [0.0], [0.0]
    for direction, steps in ((1, 90), (-1, 160), (1, 90)):
        for _ in range(steps):
            low, high = 0.99, 1.01
            for _ in range(40):
                side = (low + high) / 2
                out = probe.stress((np.diag([math.exp(direction * step), side, side]) @ F)[None], p)
                low, high = (low, side) if out.tau[0, 1, 1] > 0 else (side, high)
            F = out.F[0]
            strain.append(strain[-1] + direction * step)
            stress.append(out.tau[0, 0, 0])
    limit = math.sqrt(1.5) * p[2]
    for side in (limit, -limit):
        axes.axhline(side, color=GREY, lw=0.6, ls="--")
    axes.plot(strain, stress, color=COLOURS["von_mises"])
    axes.text(-0.068, limit + 8, r"$\sqrt{3/2}\;$yield_stress", fontsize=7, color=GREY)
    axes.set(xlabel="axial logarithmic strain", ylabel=r"$\tau_{xx}$ [Pa]", title="von_mises, sides free")
    axes.set(ylim=(-1.3 * limit, 1.3 * limit))


def sand(axes: Axes) -> None:
    """Where trial states (grey) end up (coloured), in pressure and shear."""
    probe, rng = MaterialProbe("drucker_prager"), np.random.default_rng(0)
    F = (1 - rng.uniform(-0.008, 0.016, (70, 1, 1))) * (np.eye(3) + 0.01 * rng.standard_normal((70, 3, 3)))
    p = probe.material.row()
    elastic = MaterialProbe("von_mises").stress(F, [*p[:2], math.inf])
    pressure, shear = zip(*(invariants(t) for t in (elastic.tau, probe.stress(F, p).tau)), strict=True)
    for k in range(len(F)):
        axes.plot([pressure[0][k], pressure[1][k]], [shear[0][k], shear[1][k]], color="#cccccc", lw=0.6)
    axes.plot(pressure[0], shear[0], "o", color="#bbbbbb", ms=3, label="trial")
    axes.plot(pressure[1], shear[1], "o", color="#a0742c", ms=3, label="after the return")
    sine, most = math.sin(p[2]), max(pressure[0])
    slope = 3 * math.sqrt(2 / 3) * 2 * sine / (3 - sine)
    axes.plot([0, most], [0, slope * most], color=GREY, lw=0.8, ls="--")
    axes.set(xlabel="pressure [Pa]", ylabel=r"$|\mathrm{dev}\,\tau|$ [Pa]", title="drucker_prager, 35 degrees")
    axes.set(ylim=(0, 1.02 * max(shear[0])))
    axes.legend(fontsize=7, loc="upper left")


def invariants(tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pressure and norm of the deviator."""
    pressure = -np.trace(tau, axis1=1, axis2=2) / 3
    return pressure, np.linalg.norm(tau + pressure[:, None, None] * np.eye(3), axis=(1, 2))


def fluid(axes: Axes) -> None:
    """Pressure over volume for two exponents."""
    probe, J = MaterialProbe("fluid"), np.linspace(0.85, 1.1, 100)
    F = np.cbrt(J)[:, None, None] * np.eye(3)
    for gamma, style in ((1.0, "--"), (7.0, "-")):
        tau = probe.stress(F, probe.material.row(bulk_modulus=1.0, gamma=gamma)).tau
        axes.plot(J, -tau[:, 0, 0] / J, style, color=COLOURS["fixed_corotated"], label=f"gamma {gamma:g}")
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set(xlabel="volume over rest volume, J", ylabel="pressure / bulk modulus", title="fluid")
    axes.legend(fontsize=7)


def main() -> None:
    figure, panels = plt.subplots(1, 4, figsize=(11.2, 2.9), layout="constrained")
    for draw, axes in zip((elastic, plasticine, sand, fluid), panels, strict=True):
        draw(axes)
        axes.title.set_fontsize(9)
    figure.savefig(FIGURES / "materials.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
