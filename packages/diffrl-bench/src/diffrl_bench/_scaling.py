"""``bench scaling``: a simulator's rates over worlds, threads and horizon, and the memory that it keeps.

All cases run by turns in one process, so that a disturbance of the machine affects all alike. Ratios are medians of the
ratios within each repeat.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._machine import available_cores, describe, machine, versions
from ._sim import SimBench, window_figures, worlds_of
from ._stopwatch import Laps, Progress, interleave, unseen
from ._text import count, rounded, table


@dataclass(frozen=True, kw_only=True)
class ScalingBench:
    """What to measure."""

    task: str = "ant"
    num_envs: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    """Worlds, at ``horizon``; every number with every number of threads."""
    threads: tuple[int, ...] | None = None
    """Threads of the simulator; None for 1 and all cores, where the task has the option."""
    horizon: int = 32
    """Control steps of a window."""
    horizons: tuple[int, ...] = (8, 32, 128)
    """Control steps of further windows, of ``base`` worlds and one thread."""
    base: int = 64
    """Worlds of those, and of the case that ratios are to."""
    repeats: int = 5
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("num_envs", "horizons", "threads"):
            values = getattr(self, name)
            if values is not None and (not values or min(values) < 1 or len(set(values)) < len(values)):
                raise ValueError(f"{name} is {values}; expected different numbers of at least 1")
        for name in ("horizon", "base", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")


Case = tuple[int, int | None, int]
"""Worlds, threads and control steps."""


def bench_scaling(bench: ScalingBench, progress: Progress = unseen) -> dict[str, Any]:
    """Time windows of the simulator alone, forward and backward.

    Raises:
        ValueError: an unknown task or device, or an option that the task does not have.
    """
    import torch

    from diffsim_core import kept_bytes

    from ._windows import DynamicsWindow, clock_of, require_device, start

    began = time.perf_counter()
    facts = machine() | {"gpu": require_device(bench.device)}
    sim = SimBench(task=bench.task, device=bench.device, dtype=bench.dtype)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        dynamics = worlds_of(sim, 1, None).task.dynamics
        cases = cases_of(bench, _threads(bench, dynamics))
        windows, kept = {}, {}
        for case in cases:
            worlds, threads, horizon = case
            env = worlds_of(sim, worlds, threads)
            windows[_name(case)] = DynamicsWindow(env, start(env, horizon))
            kept[case] = kept_bytes(env, horizon)
        laps = interleave(windows, repeats=bench.repeats, warm_up=1, clock=clock_of(bench.device), progress=progress)
    finally:
        torch.set_num_threads(threads_before)
    about = {"substeps": getattr(dynamics, "substeps", 1), "dt": dynamics.dt}
    first = cases[0]
    rows = [
        {
            "num_envs": case[0],
            "threads": case[1],
            "horizon": case[2],
            "kept_window_bytes": kept[case],
            **window_figures(laps[_name(case)], case[0] * case[2], **about),
            **{f"{part}_over_first": ratio(laps, case, first, part) for part in PARTS},
        }
        for case in cases
    ]
    return {
        "benchmark": "scaling",
        "task": bench.task,
        "device": bench.device,
        "dtype": bench.dtype,
        "repeats": bench.repeats,
        "horizon": bench.horizon,
        "base": bench.base,
        "dt_s": dynamics.dt,
        "rows": rows,
        "diverged": sum(window.diverged for window in windows.values()),
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


def cases_of(bench: ScalingBench, threads: Sequence[int | None]) -> list[Case]:
    """Every case once; the first is the one that ratios are to."""
    first: Case = (bench.base, threads[0], bench.horizon)
    over_worlds = [(worlds, k, bench.horizon) for k in threads for worlds in bench.num_envs]
    over_horizon = [(bench.base, threads[0], horizon) for horizon in bench.horizons]
    return list(dict.fromkeys([first, *over_worlds, *over_horizon]))


PARTS: Mapping[str, tuple[str, ...]] = {"forward": ("forward",), "forward_backward": ("recording", "backward")}
"""The laps of which each rate is made."""


def ratio(laps: Mapping[str, Laps], case: Case, first: Case, part: str) -> float:
    """Median over repeats of a case's rate over that of the first case in the same repeat."""

    def rates(one: Case) -> list[float]:
        walls = (laps[_name(one)][lap] for lap in PARTS[part])
        return [one[0] * one[2] / sum(lap.wall for lap in each) for each in zip(*walls, strict=True)]

    return statistics.median(a / b for a, b in zip(rates(case), rates(first), strict=True))


def scaling_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench scaling`` without ``--json``."""
    rows = [
        (
            f"{row['num_envs']:,}",
            str(row["threads"] or "-"),
            str(row["horizon"]),
            rounded(row["forward_steps_per_s"]),
            rounded(row["forward_backward_steps_per_s"]),
            rounded(row["forward_over_first"]),
            rounded(row["forward_backward_over_first"]),
            f"{row['kept_window_bytes'] / 1e6:,.3g}",
        )
        for row in report["rows"]
    ]
    head = ("worlds", "threads", "horizon", "forward/s", "with backward/s", "ratio", "with backward", "kept [MB]")
    return "\n".join(
        [
            f"{report['task']}: control steps per second of all worlds, medians of "
            f"{count(report['repeats'], 'repeat')}; ratios are to the first line",
            describe(report["machine"]),
            "",
            table(head, rows),
        ]
    )


def _threads(bench: ScalingBench, dynamics: Any) -> Sequence[int | None]:
    """The numbers of threads to measure; only the default where the task does not have the option."""
    if bench.threads is not None:
        return bench.threads
    if bench.device != "cpu" or getattr(dynamics, "threads", None) is None:
        return (None,)
    return sorted({1, available_cores()})


def _name(case: Case) -> str:
    worlds, threads, horizon = case
    return f"{worlds} worlds, {threads} threads, {horizon} steps"
