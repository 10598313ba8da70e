"""``diffrl bench mpm``: particles per second compared with the same method in Warp and Taichi, threads, and memory."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ._machine import available_cores, describe, machine, versions
from ._mpm_memory import in_own_process
from ._mpm_scene import WINDOW, MpmBench, engine, scene_of
from ._peak import peak_growth, peak_resident, resident_files
from ._stopwatch import Laps, Progress, Stopwatch, interleave, spread, unseen
from ._text import rounded, table

_SCALING_WORLDS = 8
PARTS = ("memory", "comparison", "two threads")
"""What is measured, for the line of progress."""


def bench_mpm(bench: MpmBench, progress: Progress = unseen) -> dict[str, Any]:
    """Measure, and return the report of ``--json``; ``progress`` is told the part, and how much of it is done."""
    import torch

    began, facts = time.perf_counter(), machine()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # first, in a process that has nothing else yet
        window = _window(bench, progress) if bench.memory else None
        comparison = _comparison(bench, progress)
        two_threads = _two_threads(bench, progress) if available_cores() > 1 else None
    finally:
        torch.set_num_threads(threads_before)
    return {
        "benchmark": "mpm",
        "material": bench.material,
        "cloud": bench.cloud,
        "num_particles": bench.num_particles,
        "num_envs": bench.num_envs,
        "substeps": bench.substeps,
        "repeats": bench.repeats,
        **comparison,
        "two_threads": two_threads,
        "window": window,
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


class _Ours:
    """The engine's worlds through the torch bridge: always the same steps from the same state."""

    def __init__(self, scene: Any, threads: int = 1) -> None:
        import torch

        from diffsim_core import differentiable

        self.dynamics, start = engine(scene, threads)
        self._step = differentiable(self.dynamics)
        self.start = self.dynamics.state_type(*map(torch.from_numpy, start))

    def window(self, steps: int, watch: Stopwatch | None = None, *, gradients: bool) -> Any:
        """Gradients of the sum of last positions and velocities by the first ones; laps only if there is a watch."""
        import torch

        x, v = (a.clone().requires_grad_(gradients) for a in (self.start.x, self.start.v))
        state = self.start._replace(x=x, v=v)
        if watch:
            watch.restart()
        ok: Any = None
        for _ in range(steps):
            state, ok = self._step(state, ())
        found = torch.autograd.grad(state.x.sum() + state.v.sum(), (x, v)) if gradients else None
        if watch:
            watch.lap("all")
        if not bool(ok.all()):
            raise RuntimeError("a world diverged; the measurement means nothing")
        return found


def _comparison(bench: MpmBench, progress: Progress) -> dict[str, Any]:
    """Particle-sub-steps per second of processor time, ours and Warp's by turns."""
    import numpy as np

    from . import _taichi_mpm
    from ._warp_mpm import WarpMpm

    scene = scene_of(bench, bench.num_envs, bench.substeps)
    ours, peer = _Ours(scene), WarpMpm(scene)
    ones = np.ones_like(scene.x)

    def own(gradients: bool) -> Callable[[Stopwatch], None]:
        return lambda watch: _ignore(ours.window(1, watch, gradients=gradients))

    def warp(gradients: bool) -> Callable[[Stopwatch], None]:
        def run(watch: Stopwatch) -> None:
            watch.restart()
            if gradients:
                peer.record()
                peer.backward(ones, ones)
            else:
                peer.forward()
            watch.lap("all")

        return run

    cases = {
        "ours, forward": own(False),
        "ours, forward and backward": own(True),
        "Warp, forward": warp(False),
        "Warp, forward and backward": warp(True),
    }
    taichi: _taichi_mpm.TaichiMpm | None = None
    if bench.material in _taichi_mpm.MATERIALS and _taichi_mpm.is_installed():
        taichi = _taichi_mpm.TaichiMpm(scene)
        cases["Taichi, forward"] = _timed(taichi.forward)
    laps = interleave(cases, repeats=bench.repeats, progress=progress, part=PARTS[1])
    count = bench.num_envs * bench.num_particles * bench.substeps
    rows = [_rate(name, laps[name], count) for name in cases]
    rate = {row["name"]: row["particle_substeps_per_cpu_s"] for row in rows}
    peer.record()
    agreement = _cosine(ours.window(1, gradients=True), peer.backward(ones, ones))
    return {
        "rows": rows,
        "over_taichi_forward": None if taichi is None else rate["ours, forward"] / rate["Taichi, forward"],
        "over_warp_forward": rate["ours, forward"] / rate["Warp, forward"],
        "over_warp_forward_backward": rate["ours, forward and backward"] / rate["Warp, forward and backward"],
        "particle_substeps_per_s": {"forward": rows[0]["median"], "forward_backward": rows[1]["median"]},
        "backward_over_forward": rate["ours, forward"] / rate["ours, forward and backward"] - 1,
        "bytes": {"ours": _bytes(ours), "warp": peer.bytes},
        "gradient_cosine": agreement,
    }


def _timed(run: Callable[[], None]) -> Callable[[Stopwatch], None]:
    def case(watch: Stopwatch) -> None:
        watch.restart()
        run()
        watch.lap("all")

    return case


def _ignore(_: Any) -> None:
    """A case of the stopwatch returns nothing."""


def _rate(name: str, laps: Laps, count: int) -> dict[str, Any]:
    found = [count / lap.cpu for lap in laps["all"]]
    rate = statistics.median(found)
    return {"name": name, "particle_substeps_per_cpu_s": rate, "ns": 1e9 / rate, **spread(found)}


def _bytes(ours: _Ours) -> int:
    """The state before and after a control step with cotangents, and what a worker has for itself."""
    state = sum(array.numel() * array.element_size() for array in ours.start)
    return 4 * state + ours.dynamics.scratch_bytes()


def _cosine(a: Any, b: Any) -> float:
    """Of the gradients by positions and velocities together."""
    import numpy as np

    first, second = (np.concatenate([np.asarray(part, np.float64).ravel() for part in both]) for both in (a, b))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def _two_threads(bench: MpmBench, progress: Progress) -> dict[str, Any]:
    """How much faster two threads do 8 worlds, forward and backward, by the wall clock.

    ``apart`` is the same for two simulators of half the worlds each, in threads that share nothing: what the machine
    itself gives. ``cpu`` is the processor time that two threads take, over that of one.
    """
    scene, half = (scene_of(bench, worlds, bench.substeps) for worlds in (_SCALING_WORLDS, _SCALING_WORLDS // 2))
    runs = {str(threads): _Ours(scene, threads) for threads in (1, 2)}
    pair = [_Ours(half), _Ours(half)]

    def apart(watch: Stopwatch) -> None:
        threads = [threading.Thread(target=run.window, args=(4,), kwargs={"gradients": True}) for run in pair]
        watch.restart()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        watch.lap("all")

    cases: dict[str, Callable[[Stopwatch], None]] = {
        name: lambda watch, run=run: _ignore(run.window(4, watch, gradients=True)) for name, run in runs.items()
    }
    laps = interleave({**cases, "apart": apart}, repeats=bench.repeats, progress=progress, part=PARTS[2])
    one, two, machine_alone = (laps[name]["all"] for name in ("1", "2", "apart"))
    return {
        "num_envs": _SCALING_WORLDS,
        **spread([a.wall / b.wall for a, b in zip(one, two, strict=True)]),
        "apart": spread([a.wall / b.wall for a, b in zip(one, machine_alone, strict=True)]),
        "cpu": spread([b.cpu / a.cpu for a, b in zip(one, two, strict=True)]),
    }


def _window(bench: MpmBench, progress: Progress) -> dict[str, Any]:
    """Memory that a window takes, forward and backward, and that the process has at its peak, with PyTorch in it.

    ``library_bytes`` of that are pages of files, such as Warp's library: processes share them. ``alone`` is the same of
    a process with the simulator and NumPy, and nothing else.
    """
    progress(PARTS[0], 0.0)
    ours = _Ours(scene_of(bench, WINDOW, 40))
    growth = peak_growth(lambda: _ignore(ours.window(WINDOW, gradients=True)))
    found = {"bytes": growth, "resident_bytes": peak_resident(), "library_bytes": resident_files()}
    progress(PARTS[0], 0.5)
    return {"num_envs": WINDOW, "steps": WINDOW, **found, "alone": in_own_process(bench)}


def _taichi_lines(over: float | None) -> list[str]:
    return [] if over is None else [f"over Taichi: forward {rounded(over)}"]


def mpm_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench mpm`` without ``--json``."""
    rows = [(row["name"], rounded(row["particle_substeps_per_cpu_s"]), rounded(row["ns"])) for row in report["rows"]]
    lines = [
        f"one thread, medians of {report['repeats']} repeats; {describe(report['machine'])};"
        f" load {rounded(report['machine']['load_before'])} before the run",
        "",
        f"{report['material']}, {report['cloud']} of {report['num_particles']:,} particles,"
        f" {report['num_envs']} worlds",
        table(("", "particle-sub-steps per CPU-second", "ns each"), rows),
        "",
        f"over Warp: forward {rounded(report['over_warp_forward'])},"
        f" forward and backward {rounded(report['over_warp_forward_backward'])};"
        f" cosine of the gradients {report['gradient_cosine']:.6f}",
        *_taichi_lines(report["over_taichi_forward"]),
        f"memory at most: ours {report['bytes']['ours'] / 1e6:,.0f} MB, Warp {report['bytes']['warp'] / 1e6:,.0f} MB",
    ]
    if report["two_threads"]:
        two = report["two_threads"]
        lines.append(
            f"two threads over one, 8 worlds: {rounded(two['median'])}; two simulators apart: "
            f"{rounded(two['apart']['median'])}; processor time of two threads over that of one: "
            f"{rounded(two['cpu']['median'])}"
        )
    if report["window"] and report["window"]["bytes"] is not None:
        lines.append(
            f"a window of {WINDOW} worlds and {WINDOW} control steps takes {report['window']['bytes'] / 1e6:,.0f} MB;"
            f" the whole process then has {report['window']['resident_bytes'] / 1e6:,.0f} MB, of which"
            f" {report['window']['library_bytes'] / 1e6:,.0f} MB are pages of libraries; without PyTorch it has"
            f" {report['window']['alone']['resident_bytes'] / 1e6:,.0f} MB"
        )
    return "\n".join(lines)
