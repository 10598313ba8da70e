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

    def ends(seconds: float, spread: Mapping[str, float]) -> dict[str, Any]:
        """The slowest and the fastest repeat of a window of ``seconds``, summed over worlds."""
        return {"low": seconds / spread["max"], "high": seconds / spread["min"], "by": by}

    for key, words in _WORDS.items():
        figures.append(
            figure_of(_OURS, words, report[f"{key}_sim_s_per_s"], _RATE, **ends(steps * dt, report["window_s"][key]))
        )
        figures.append(figure_of(_OURS, f"{words}, CPU", report[f"{key}_steps_per_cpu_s"] * dt, _RATE_CPU))
    rate_cpu = {key: report[f"{key}_steps_per_cpu_s"] * dt for key in _WORDS}
    for peer in report["peers"]:
        name = f"MuJoCo C, {count(peer['threads'], 'thread')}"
        words = f"steps of {1e3 * peer['dt_s']:.3g} ms, Newton's method, float64, the same worlds; no backward pass"
        subjects.append(subject_of(name, version=report["versions"].get("mujoco"), settings=words))
        rate, spread = peer["forward_sim_s_per_s"], peer["window_s"]["forward"]
        figures.append(figure_of(name, _WORDS["forward"], rate, _RATE, **ends(steps * dt, spread)))
        figures.append(figure_of(name, "forward, CPU", peer["forward_steps_per_cpu_s"] * dt, _RATE_CPU))
        figures.append(
            figure_of(name, "ours over it, forward", report["forward_sim_s_per_s"] / peer["forward_sim_s_per_s"], "")
        )
        over = rate_cpu["forward"] / (peer["forward_steps_per_cpu_s"] * dt)
        figures.append(figure_of(name, "ours over it, forward, CPU", over, ""))
    for peer in report["beside"]:
        name = peer["name"]
        words = (
            f"{count(peer['substeps'], 'step')} of {1e3 * peer['dt_s']:.3g} ms in a control step, float32, "
            f"{count(peer.get('num_envs', report['num_envs']), 'world')}"
        )
        if name == "mjx":
            words += ", one iteration of the solver, which its backward pass allows"
        if name.startswith("brax"):
            words += ", its own robot"
        if not peer["finite"]:
            words += "; its worlds did not stay finite"
        subjects.append(subject_of(name, version=peer.get("version"), settings=words))
        for key, words in _WORDS.items():
            if f"{key}_sim_s_per_s" not in peer:
                continue
            rate, spread = peer[f"{key}_sim_s_per_s"], peer["window_s"][key]
            figures.append(figure_of(name, words, rate, _RATE, **ends(rate * spread["median"], spread)))
            figures.append(figure_of(name, f"{words}, CPU", rate_cpu[key] / peer[f"{key}_times_slower_cpu"], _RATE_CPU))
            figures.append(figure_of(name, f"ours over it, {words}", peer[f"{key}_times_slower"], ""))
            figures.append(figure_of(name, f"ours over it, {words}, CPU", peer[f"{key}_times_slower_cpu"], ""))
    subjects += [subject_of(one["name"], missing=one["reason"]) for one in report.get("missing", ())]
    return Findings(figures, subjects)


def _traffic(report: Report) -> Findings:
    """Updates of drivers per second of processor time, and how many times SUMO's they are."""
    by = f"range of {count(report['repeats'], 'repeat')}"
    road = f"{report['num_vehicles']:,} drivers on {count(report['num_lanes'], 'lane')}, one thread, steps of 100 ms"
    figures, subjects = [], []
    for row in report["highway"]:
        theirs = row["name"] == "SUMO"
        version = report["versions"].get("libsumo") if theirs else None
        subjects.append(
            subject_of(row["name"], version=version, settings=road + (", float64" if theirs else ", float32"))
        )
        ends = {"low": row["spread"]["min"], "high": row["spread"]["max"], "by": by}
        figures.append(figure_of(row["name"], "driver updates", row["updates_per_cpu_s"], "1/CPU-s", **ends))
        figures.append(figure_of(row["name"], "driver updates, wall", row["updates_per_s"], "1/s"))
        if "over_sumo" in row and not theirs:
            figures.append(figure_of(row["name"], "over SUMO, CPU", row["over_sumo"], ""))
    if not any(row["name"] == "SUMO" for row in report["highway"]):
        subjects.append(subject_of("SUMO", missing="not installed; install diffsim-traffic[sumo]"))
    return Findings(figures, subjects)


def _mpm(report: Report) -> Findings:
    """Particle-sub-steps per second of processor time, and how many times those of Warp and Taichi."""
    scene = (
        f"{report['material']}, {count(report['num_envs'], 'world')} of {report['num_particles']:,} particles, "
        f"{report['substeps']} sub-steps, one thread, float32"
    )
    rate = {row["name"]: row["particle_substeps_per_cpu_s"] for row in report["rows"]}
    packages = {"Warp": "warp-lang", "Taichi": "taichi"}
    figures, subjects = [], []
    for row in report["rows"]:
        who, _, what = row["name"].partition(", ")
        subjects.append(subject_of(row["name"], version=report["versions"].get(packages.get(who, "")), settings=scene))
        figures.append(figure_of(row["name"], "particle-sub-steps", rate[row["name"]], "1/CPU-s"))
        if who != _OURS:
            figures.append(
                figure_of(row["name"], "ours over it, CPU", rate[f"{_OURS}, {what}"] / rate[row["name"]], "")
            )
    if not any(name.startswith("Taichi") for name in rate):
        reason = "not installed, or without this material; install diffrl-bench[mpm-peers]"
        subjects.append(subject_of("Taichi, forward", missing=reason))
    return Findings(figures, subjects)


EXTRACTORS: dict[str, Callable[[Report], Findings]] = {
    "gradients": gradients_figures,
    "mpm": _mpm,
    "scaling": scaling_figures,
    "sim": _sim,
    "traffic": _traffic,
}
"""By command."""
