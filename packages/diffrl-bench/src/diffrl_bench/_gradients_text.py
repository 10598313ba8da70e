"""The text of ``bench gradients``, and its figures in one flat table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._machine import describe
from ._text import count, magnitude, rounded, table

TRUSTED = 0.9
"""Cosine to the truth from which the mean of a batch is trusted."""
LABELS = {
    "first": "first order",
    "lr": "likelihood ratio",
    "lr-baseline": "likelihood ratio, baseline",
    "aobg": "AoBG",
    "ivwh": "IVW-H",
    "ddcg": "DDCG",
    "bundles": "first order, bundles",
}
"""Names of the estimators in words."""


def gradients_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench gradients`` without ``--json``."""
    given, truth = report["settings"], report["truth"]
    noise = "" if report["sigma"] is None else f", noise {rounded(report['sigma'])}"
    horizons = ", ".join(f"{LABELS[name]} {trusted(found)}" for name, found in report["trust"].items())
    lines = [
        f"{report['task']}, {report['policy']}{noise}: {count(given['samples'], 'world')} for each estimator, "
        f"{given['truth']:,} for the truth, {count(given['directions'], 'direction')}, seed {given['seed']}",
        describe(report["machine"]),
        "",
        f"horizon of trust [control steps]: {horizons}",
        f"(the largest up to which means of {given['batch']} worlds have a cosine of at least {TRUSTED} to the truth)",
        "",
    ]
    lines += [f"the truth is not known at horizon {row['horizon']}" for row in truth if not row["known"]]
    head = ("estimator", "horizon", "bias (95 %)", "variance", "signal/noise", "cosine (range)", "left out")
    return "\n".join([*lines, table(head, [cells(row) for row in report["rows"]]), "", _LEGEND])


_LEGEND = (
    "bias and variance of one world are over the truth's norm and its square; the signal-to-noise ratio is of one world"
)


def cells(row: Mapping[str, Any]) -> Sequence[str]:
    """One row of figures."""
    bias, cosine = magnitude(row["bias"]), rounded(row["cosine"], 2)
    if row["bias"] is not None:
        bias += f" ({magnitude(row['bias_low'])} to {magnitude(row['bias_high'])})"
    if row["cosine"] is not None:
        cosine += f" ({rounded(row['cosine_low'], 2)} to {rounded(row['cosine_high'], 2)})"
    return (
        LABELS[row["estimator"]],
        str(row["horizon"]),
        bias,
        magnitude(row["variance"]),
        magnitude(row["snr"]),
        cosine,
        f"{100 * row['left_out']:.3g} %",
    )


def trusted(found: Mapping[str, Any]) -> str:
    """A horizon of trust: ``16``, or ``at least 16`` where none beyond it was found bad."""
    return f"at least {found['horizon']}" if found["open"] and found["horizon"] else str(found["horizon"])
