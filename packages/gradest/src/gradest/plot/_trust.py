"""Figures of diagnostics: curves by horizon, norms of gradients, and GI-PPO's alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from .._alpha_controller import AlphaState
from .._check import Array
from ._axes import axes, numpy


def horizon_curves(
    curves: Mapping[str, Array], *, ylabel: str = "variance", log: bool = True, ax: Axes | None = None
) -> Axes:
    """Diagnostics against the horizon, for several estimators: variances, signal-to-noise ratios, cosines.

    Args:
        curves: for each name an array ``[H]`` for horizons ``1 .. H``.
        ylabel: label of the vertical axis.
        log: draw them on a logarithmic axis.
        ax: axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: there is no curve, or one has the wrong shape.
    """
    if not curves:
        raise ValueError("curves is empty; expected at least one")
    ax = axes(ax)
    for name, curve in curves.items():
        y = numpy(name, curve, 1)
        ax.plot(np.arange(1, len(y) + 1), y, label=name)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel("horizon [steps]")
    ax.set_ylabel(ylabel)
    ax.legend()
    return ax


def gradient_norms(gradients: Mapping[str, Array], *, bins: int = 60, ax: Axes | None = None) -> Axes:
    """Histogram of the norms of single samples' gradients, for several estimators, on a logarithmic axis.

    The legend counts samples that are not finite, and those that are zero.

    Args:
        gradients: for each name an array ``[N, P]``.
        bins: number of bins.
        ax: axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: there is no estimator, one has the wrong shape, or no gradient has a length to draw.
    """
    norms, labels = [], []
    for name, array in gradients.items():
        g = numpy(name, array, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.linalg.norm(g, axis=1)
        norms.append(norm[np.isfinite(norm) & (norm > 0)])
        bad, zero = int((~np.isfinite(norm)).sum()), int((norm == 0).sum())
        labels.append(name + (f", {bad} not finite" if bad else "") + (f", {zero} zero" if zero else ""))
    if not sum(len(norm) for norm in norms):
        raise ValueError("gradients holds no gradient to draw: each is zero or not finite")
    ax = axes(ax)
    every = np.concatenate(norms)
    edges = np.geomspace(every.min() * (1 - 1e-6), every.max() * (1 + 1e-6), bins + 1)
    for norm, label in zip(norms, labels, strict=True):
        ax.hist(norm, bins=edges, histtype="step", label=label)
    ax.set_xscale("log")
    ax.set_xlabel("length of one sample's gradient")
    ax.set_ylabel("samples")
    ax.legend()
    return ax


_COLOURS = {
    "determinant": "tab:red",
    "bias": "tab:purple",
    "out of range": "tab:orange",
    "not finite": "black",
}


def alpha_trace(states: Sequence[AlphaState], *, ax: Axes | None = None) -> Axes:
    """GI-PPO's alpha over the updates, with the rule that lowered it (Son et al. 2023, Figures 6 and 7).

    Args:
        states: the state of every update, in order.
        ax: axes to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: there is no state.
    """
    if not states:
        raise ValueError("states is empty; expected one for each update")
    ax = axes(ax)
    alpha = np.array([state.alpha for state in states])
    ax.plot(alpha, color="0.6", zorder=1)
    for reason, colour in _COLOURS.items():
        at = [i for i, state in enumerate(states) if state.reason == reason]
        if at:
            ax.plot(at, alpha[at], ".", color=colour, label=reason, zorder=2)
    if (alpha > 0).all():
        ax.set_yscale("log")
    ax.set_xlabel("update")
    ax.set_ylabel("alpha")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax
