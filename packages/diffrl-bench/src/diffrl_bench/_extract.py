"""The figures in a report of ``diffrl bench``: one function for each command that a suite may measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._extract_gradients import gradients_figures, scaling_figures
from ._figures import Findings, figure_of, subject_of
from ._text import count

Report = Mapping[str, Any]


def figures_in(command: str, report: Report) -> Findings:
    """What a report says.

    Raises:
        KeyError: the command has no figures, or the report is not one of its.
    """
    return EXTRACTORS[command](report)


_OURS = "ours"
_RATE, _RATE_CPU = "simulated s/s", "simulated s/CPU-s"
_WORDS = {"forward": "forward", "forward_backward": "forward + backward"}


def _sim(report: Report) -> Findings:
    """Simulated seconds per second of every simulator; how many times as many are ours, by wall and processor time."""
    by = f"range of {count(report['repeats'], 'repeat')}"
    steps, dt = report["num_envs"] * report["horizon"], report["dt_s"]
    figures, subjects = [], []
    settings = (
        f"{count(report['substeps'], 'sub-step')} of {1e3 * dt / report['substeps']:.3g} ms in a control step of "
        f"{1e3 * dt:.3g} ms, {report['dtype']}, {count(report['threads'] or 1, 'thread')}, "
        f"{count(report['num_envs'], 'world')}, window of {count(report['horizon'], 'control step')}"
    )
    subjects.append(subject_of(_OURS, settings=settings))
    for key, words in _WORDS.items():
        spread = report["window_s"][key]
        ends = {"low": steps * dt / spread["max"], "high": steps * dt / spread["min"], "by": by}
        figures.append(figure_of(_OURS, words, report[f"{key}_sim_s_per_s"], _RATE, **ends))
        figures.append(figure_of(_OURS, f"{words}, CPU", report[f"{key}_steps_per_cpu_s"] * dt, _RATE_CPU))
    memory = report["memory"]
    figures.append(figure_of(_OURS, "kept for the backward pass", memory["kept_window_bytes"] / 1e6, "MB"))
    if memory["peak_growth_bytes"] is not None:
        figures.append(figure_of(_OURS, "growth of the process", memory["peak_growth_bytes"] / 1e6, "MB"))
    return Findings(figures, subjects)


EXTRACTORS: dict[str, Callable[[Report], Findings]] = {
    "sim": _sim,
    "gradients": gradients_figures,
    "scaling": scaling_figures,
}
"""By command."""
