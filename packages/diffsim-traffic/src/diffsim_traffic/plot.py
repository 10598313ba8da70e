"""Diagrams of scenes (the extra ``plot``): positions over time, and distributions of speeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffsim_traffic.scene import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_space_time(scene: Scene, *, lane: int | None = None, ax: Axes | None = None) -> Axes:
    """Every vehicle's position along the road over time, coloured by speed; controlled vehicles are black.

    On a ring, positions are modulo the circumference.

    Args:
        scene: the scene to draw.
        lane: draw only vehicles in this lane; by default all lanes over each other.
        ax: axes to draw into; a new figure by default.

    Raises:
        ValueError: the road does not have that lane.
        ImportError: Matplotlib is not installed; the message names the extra.
    """
    plt = _pyplot()
    from matplotlib.collections import LineCollection

    road = scene.model.road
    if lane is not None and not 0 <= lane < road.num_lanes:
        raise ValueError(f"lane={lane!r} must be from 0 to {road.num_lanes - 1}")
    axes: Axes = plt.figure(figsize=(8, 4.5), layout="constrained").gca() if ax is None else ax
    ring, controlled = road.circumference, scene.model.num_controlled
    x = scene.x % ring if ring else scene.x
    drawn = np.ones(x.shape, dtype=bool) if lane is None else scene.lanes() == lane
    times = scene.times
    ends = np.stack(
        [np.stack([np.broadcast_to(times[:, None], x.shape), x], axis=-1)[k:][: len(x) - 1] for k in (0, 1)]
    )
    ends = np.moveaxis(ends, 0, 2)  # [T - 1, V, 2, 2]
    whole = drawn[:-1] & drawn[1:]
    if ring:
        whole &= abs(np.diff(x, axis=0)) < ring / 2
    speeds = scene.v[1:]
    top = max(float(scene.v.max()), 1e-6)
    drivers = whole.copy()
    drivers[:, :controlled] = False
    lines: Any = LineCollection(list(ends[drivers]), cmap="viridis_r", linewidths=1.1)
    lines.set_array(speeds[drivers])
    lines.set_clim(0, top)
    axes.add_collection(lines)
    own = whole & ~drivers
    axes.add_collection(LineCollection(list(ends[own]), colors="black", linewidths=1.6))
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(lines, ax=axes, label="speed [m/s]")
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(float(x.min()), float(x.max()))
    axes.set(xlabel="time [s]", ylabel="along the road [m]", title="" if lane is None else f"lane {lane}")
    return axes


def plot_speeds(
    scenes: dict[str, Scene], *, target: float | None = None, bins: int = 40, ax: Axes | None = None
) -> Axes:
    """Histograms of the drivers' speeds over all times, one for each scene.

    Args:
        scenes: scenes by name; the names are the legend.
        target: a speed to mark [m/s].
        bins: number of bins.
        ax: axes to draw into; a new figure by default.

    Raises:
        ValueError: there is no scene, or one has no drivers.
        ImportError: Matplotlib is not installed; the message names the extra.
    """
    plt = _pyplot()
    if not scenes or any(scene.model.num_drivers == 0 for scene in scenes.values()):
        raise ValueError("scenes is empty, or one has no drivers; give scenes with drivers")
    axes: Axes = plt.figure(figsize=(6.5, 4), layout="constrained").gca() if ax is None else ax
    speeds = {name: scene.v[:, scene.model.num_controlled :].ravel() for name, scene in scenes.items()}
    edges = np.linspace(0, max(float(v.max()) for v in speeds.values()) + 1e-6, bins + 1)
    for name, v in speeds.items():
        axes.hist(
            v, edges.tolist(), density=True, histtype="stepfilled", alpha=0.45, label=f"{name}, mean {v.mean():.1f}"
        )
    if target is not None:
        axes.axvline(target, color="black", linestyle=":", label=f"target {target:.3g}")
    axes.set(xlabel="speed of drivers [m/s]", ylabel="density [s/m]")
    axes.legend(frameon=False)
    return axes


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Matplotlib is not installed: pip install 'diffsim-traffic[plot]'") from error
    return plt
