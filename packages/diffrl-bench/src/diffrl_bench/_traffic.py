"""``diffrl bench traffic``: drivers per second compared with SUMO, the cost of a world, the pace car's simulators."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ._machine import describe, machine, versions
from ._stopwatch import Laps, Progress, Stopwatch, interleave, spread, unseen
from ._text import rounded, table

PARTS = ("highway", "worlds", "pace cars")
"""What is measured, for the line of progress."""
PUBLISHED = {1: 8919, 2: 7927, 4: 2603, 10: 3940}
"""Environment steps per second of processor time, forward and backward, of the simulator behind the GI-PPO paper: by
number of lanes, 64 worlds, one thread, on a machine like that of ``docs/results``, its straight lanes alone."""
_DRIVER = {"a": 1.4, "b": 2.0, "T": 1.5, "s0": 2.0, "v0": 30.0}
_SPACING, _SPEED, _DT = 30.0, 15.0, 0.1


@dataclass(frozen=True, kw_only=True)
class TrafficBench:
    """Settings of the measurement. Everything runs on one thread."""

    num_vehicles: int = 1000
    """Drivers on the highway."""
    num_lanes: int = 4
    steps: int = 50
    """Steps of the highway in a repeat."""
    worlds: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    """Numbers of worlds of ``pace_car_4``."""
    horizon: int = 32
    """Steps in a window of the pace car."""
    repeats: int = 9
    peers: bool = True
    """Measure SUMO as well, if it is installed."""

    def __post_init__(self) -> None:
        for name in ("num_vehicles", "num_lanes", "steps", "horizon", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_vehicles < self.num_lanes:
            raise ValueError(f"num_vehicles is {self.num_vehicles}; it must be at least num_lanes, {self.num_lanes}")
        if not self.worlds or min(self.worlds) < 1:
            raise ValueError(f"worlds is {list(self.worlds)}; each number must be at least 1")


def bench_traffic(bench: TrafficBench, progress: Progress = unseen) -> dict[str, Any]:
    """Measure, and return the report of ``--json``; ``progress`` is told the part, and how much of it is done."""
    import torch

    began, facts = time.perf_counter(), machine()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        highway = _highway(bench, progress)
        scaling = _pace_cars(bench, [(4, n) for n in bench.worlds], progress, PARTS[1])
        published = _pace_cars(bench, [(lanes, n) for lanes in PUBLISHED for n in (64, 1024)], progress, PARTS[2])
    finally:
        torch.set_num_threads(threads_before)
    for row in published:
        row["published_steps_per_cpu_s"] = PUBLISHED[row["num_lanes"]]
        for kind in ("dynamics", "env"):
            row[f"{kind}_over_published"] = row[f"{kind}_steps_per_cpu_s"] / PUBLISHED[row["num_lanes"]]
    return {
        "benchmark": "traffic",
        "num_vehicles": bench.num_vehicles,
        "num_lanes": bench.num_lanes,
        "repeats": bench.repeats,
        "highway": highway,
        "worlds": scaling,
        "pace_cars": published,
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


def _highway(bench: TrafficBench, progress: Progress) -> list[dict[str, Any]]:
    """Updates of drivers per second of processor time, ours and SUMO's by turns."""
    cases: dict[str, Callable[[Stopwatch], None]] = {}
    counts: dict[str, int] = {}
    sumo = None
    with contextlib.ExitStack() as stack:
        for worlds in (1, 64):
            for gradients in (False, True):
                name = f"ours, {worlds} world{'s' * (worlds > 1)}, forward{' and backward' * gradients}"
                cases[name] = _ours(bench, worlds, gradients)
                counts[name] = worlds * bench.num_vehicles * bench.steps
        if bench.peers and find_spec("libsumo") is not None:
            from diffsim_traffic.sumo import Highway

            steps = bench.steps * (bench.repeats + 2)
            arguments = {"num_vehicles": bench.num_vehicles, "num_lanes": bench.num_lanes, "driver": _DRIVER}
            sumo = road = stack.enter_context(Highway(**arguments, spacing=_SPACING, speed=_SPEED, dt=_DT, steps=steps))

            def theirs(watch: Stopwatch) -> None:
                watch.restart()
                road.step(bench.steps)
                watch.lap("all")

            cases["SUMO"], counts["SUMO"] = theirs, bench.num_vehicles * bench.steps
        laps = interleave(cases, repeats=bench.repeats, progress=progress, part=PARTS[0])
        if sumo is not None and sumo.num_vehicles != bench.num_vehicles:
            raise RuntimeError(
                f"SUMO has {sumo.num_vehicles} of {bench.num_vehicles} vehicles left; they cannot be compared"
            )
    rows = [_rate(name, laps[name], counts[name]) for name in cases]
    for row in rows:
        if "SUMO" in cases:
            row["over_sumo"] = row["updates_per_cpu_s"] / rows[-1]["updates_per_cpu_s"]
    return rows


def _rate(name: str, laps: Laps, count: int) -> dict[str, Any]:
    found = [count / lap.cpu for lap in laps["all"]]
    wall = statistics.median(lap.wall for lap in laps["all"])
    return {
        "name": name,
        "updates_per_cpu_s": statistics.median(found),
        "spread": spread(found),
        "updates_per_s": count / wall,
    }


def _ours(bench: TrafficBench, worlds: int, gradients: bool) -> Callable[[Stopwatch], None]:
    import torch

    from diffsim_core import differentiable
    from diffsim_traffic import IDM, Road, TrafficDynamics, TrafficModel, TrafficState

    lanes = [len(range(k, bench.num_vehicles, bench.num_lanes)) for k in range(bench.num_lanes)]
    model = TrafficModel(road=Road(num_lanes=bench.num_lanes), drivers_per_lane=lanes, num_controlled=0)
    step = differentiable(TrafficDynamics(model, dt=_DT, threads=1))
    x = torch.cat([-_SPACING * torch.arange(n) for n in lanes]).float().repeat(worlds, 1)
    none = torch.zeros(worlds, 0)
    drivers = torch.tensor(IDM.row(**_DRIVER)).float().repeat(worlds, bench.num_vehicles, 1)
    start = TrafficState(x, torch.full_like(x, _SPEED), none, none)

    def run(watch: Stopwatch) -> None:
        leaf, state = drivers.clone().requires_grad_(gradients), start
        watch.restart()
        for _ in range(bench.steps):
            state, _ = step(state, (none, none), (leaf,))
        if gradients:
            torch.autograd.grad(state.x.sum() + state.v.sum(), leaf)
        watch.lap("all")

    return run


def _pace_cars(
    bench: TrafficBench, cases: list[tuple[int, int]], progress: Progress, part: str
) -> list[dict[str, Any]]:
    """Steps forward and backward per second of processor time, of the dynamics and of the whole environment."""
    from diffsim_core import make

    from ._windows import DynamicsWindow, EnvWindow, start

    windows: dict[str, Any] = {}
    for lanes, worlds in cases:
        env = make(f"pace_car_{lanes}", num_envs=worlds, threads=1, preset="paper")
        begin = start(env, bench.horizon)
        windows[f"dynamics {lanes} {worlds}"] = DynamicsWindow(env, begin)
        windows[f"env {lanes} {worlds}"] = EnvWindow(env, begin)
    laps = interleave(windows, repeats=bench.repeats, progress=progress, part=part)
    rows = []
    for lanes, worlds in cases:
        row: dict[str, Any] = {"num_lanes": lanes, "num_envs": worlds}
        for kind in ("dynamics", "env"):
            found = laps[f"{kind} {lanes} {worlds}"]
            both = [a.cpu + b.cpu for a, b in zip(found["recording"], found["backward"], strict=True)]
            row[f"{kind}_steps_per_cpu_s"] = bench.horizon * worlds / statistics.median(both)
            row[f"{kind}_world_step_us"] = 1e6 * statistics.median(both) / (bench.horizon * worlds)
        rows.append(row)
    return rows


def traffic_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench traffic`` without ``--json``."""
    highway = [
        (row["name"], rounded(row["updates_per_cpu_s"]), rounded(row.get("over_sumo"))) for row in report["highway"]
    ]
    worlds = [
        (f"{row['num_envs']:,}", *(rounded(row[f"{kind}_world_step_us"]) for kind in ("dynamics", "env")))
        for row in report["worlds"]
    ]
    cars = [
        (
            f"{row['num_lanes']} lanes, {row['num_envs']:,} worlds",
            *(rounded(row[f"{kind}_steps_per_cpu_s"]) for kind in ("dynamics", "env")),
            rounded(row["published_steps_per_cpu_s"]),
            *(rounded(row[f"{kind}_over_published"]) for kind in ("dynamics", "env")),
        )
        for row in report["pace_cars"]
    ]
    return "\n".join(
        [
            f"one thread, medians of {report['repeats']} repeats; {describe(report['machine'])};"
            f" load {rounded(report['machine']['load_before'])} before the run",
            "",
            f"{report['num_vehicles']:,} drivers on {report['num_lanes']} lanes",
            table(("", "updates of a driver per CPU-second", "over SUMO"), highway),
            "",
            "pace_car_4, forward and backward",
            table(("worlds", "dynamics, us a world and step", "environment, us"), worlds),
            "",
            "pace cars with the paper's constants, steps forward and backward per CPU-second",
            table(("", "dynamics", "environment", "published", "dynamics over it", "environment over it"), cars),
        ]
    )
