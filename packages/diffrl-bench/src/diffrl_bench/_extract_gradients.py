"""The figures in the reports of ``bench gradients`` and ``bench scaling``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._figures import Findings, figure_of, subject_of
from ._gradients_text import LABELS
from ._text import count, rounded

Report = Mapping[str, Any]


def gradients_figures(report: Report) -> Findings:
    """Horizons of trust, and of every estimator and horizon bias, variance, signal to noise and cosine."""
    given = report["settings"]
    steps = "control steps"
    noise = "" if report["sigma"] is None else f", noise {rounded(report['sigma'])}"
    starts = f"starts after {count(given['begin'], 'control step')} of the policy" if given["begin"] else "first states"
    settings = (
        f"{report['policy']}{noise}, {starts}; {count(given['directions'], 'direction')}, discount {given['gamma']}, "
        f"seed {given['seed']}, {report['task_options']['dtype']}"
    )
    truth = f"{given['truth']:,} worlds, {settings}; differences of width {given['width']}"
    ours = f"{given['samples']:,} worlds, means of {given['batch']}"
    subjects = [subject_of(LABELS[name], settings=ours) for name in report["trust"]]
    figures = [
        figure_of(LABELS[name], "horizon of trust", float(found["horizon"]), steps)
        for name, found in report["trust"].items()
    ]
    ends = {"bias": "95 % interval of the bias", "cosine": "range of the cosine of batches"}
    for row in report["rows"]:
        name = f"{LABELS[row['estimator']]}, {count(row['horizon'], 'step')}"
        for key, words in {
            "bias": "bias",
            "variance": "variance",
            "snr": "signal to noise",
            "cosine": "cosine",
        }.items():
            if row[key] is None:
                continue
            low = {"low": row[f"{key}_low"], "high": row[f"{key}_high"], "by": ends[key]} if key in ends else {}
            figures.append(figure_of(name, words, row[key], "", **low))
        figures.append(figure_of(name, "left out", row["left_out"], ""))
    for row in report["truth"]:
        name = f"truth, {count(row['horizon'], 'step')}"
        if row["known"]:
            figures.append(figure_of(name, "error over norm", row["error"] / row["norm"], ""))
        else:
            subjects.append(subject_of(name, missing="its error is over half of its norm; take more worlds"))
    return Findings(figures, [*subjects, subject_of("truth", settings=truth)])


def scaling_figures(report: Report) -> Findings:
    """Rates of every case, their ratios to the first, and the memory kept."""
    by = f"range of {count(report['repeats'], 'repeat')}"
    figures = []
    for row in report["rows"]:
        threads = "" if row["threads"] is None else f", {count(row['threads'], 'thread')}"
        name = f"{count(row['num_envs'], 'world')}{threads}, {count(row['horizon'], 'step')}"
        steps = row["num_envs"] * row["horizon"]
        for part, words in {"forward": "forward", "forward_backward": "forward + backward"}.items():
            spread = row["window_s"][part]
            ends = {"low": steps / spread["max"], "high": steps / spread["min"], "by": by}
            figures.append(figure_of(name, words, row[f"{part}_steps_per_s"], "control steps/s", **ends))
            figures.append(figure_of(name, f"{words}, CPU", row[f"{part}_steps_per_cpu_s"], "control steps/CPU-s"))
            figures.append(figure_of(name, f"{words}, ratio", row[f"{part}_over_first"], ""))
        figures.append(figure_of(name, "kept for the backward pass", row["kept_window_bytes"] / 1e6, "MB"))
    settings = f"{report['dtype']}, {report['device']}; ratios are to the first line, within each repeat"
    return Findings(figures, [subject_of(report["task"], settings=settings)])
