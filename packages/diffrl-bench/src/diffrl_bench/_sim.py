"""``diffrl bench sim``: the speed of a simulator, forward and backward, with other engines in the same run."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._beside import NAMES, missing_peers, peer_window
from ._machine import available_cores, machine, versions
from ._peak import peak_growth
from ._stopwatch import Lap, Laps, Progress, Stopwatch, busy_cores, interleave, spread, unseen

_WARM_UP = 2


@dataclass(frozen=True, kw_only=True)
class SimBench:
    """Settings of the measurement."""

    task: str = "ant"
    model: str | None = None
    """MJCF file of a robot to measure in the task's place, as ``robot_task`` loads it, or ``"hulled-humanoid"``."""
    num_envs: int = 64
    """Worlds in parallel (N)."""
    horizon: int = 32
    """Control steps in a window (T)."""
    threads: int | None = None
    """CPU threads of the simulator; None for its default, every core that this process may use."""
    device: str = "cpu"
    dtype: str = "float32"
    memory: str | None = None
    """The simulator's option ``memory``, "fast" or "low"; None for the task's default."""
    repeats: int = 20
    """Timed windows of each kind, after two for warm-up."""
    scaling_envs: int | None = None
    """Worlds of the comparison of one thread with all threads; 0 for no comparison; None for 1024, or fewer where the
    state of a world has more than 128 numbers."""
    peers: bool = True
    """Measure MuJoCo as well, if the task has an MJCF file."""
    beside: tuple[str, ...] = ()
    """Simulators to measure as well: ``"mjx"``, ``"brax-generalized"``, ``"brax-spring"``, ``"brax-positional"``,
    ``"newton"``, ``"mujoco-warp"``."""
    skip_missing: bool = False
    """Note those of ``beside`` that are not installed in the report, instead of an error."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "horizon", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; it must be at least 1")
        if self.scaling_envs is not None and self.scaling_envs < 0:
            raise ValueError(f"scaling_envs is {self.scaling_envs}; it must be 0 or more")
        for name in self.beside:
            if name not in NAMES:
                raise ValueError(f"beside is {name!r}; choose from {', '.join(NAMES)}")


def bench_sim(bench: SimBench, progress: Progress = unseen) -> dict[str, Any]:
    """Measure, and return the report of ``--json`` (see the documentation's page on benchmarks).

    ``progress`` is told how many of the repeats are done.

    Raises:
        ValueError: an unknown task or device, or an option that the task does not have.
    """
    import torch

    from ._kernels import step_bytes
    from ._windows import DynamicsWindow, EnvWindow, clock_of, copy_rate, require_device, start

    began = time.perf_counter()
    facts = machine() | {"gpu": require_device(bench.device)}
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if bench.model is not None:
            bench = dataclasses.replace(bench, task=_robot(bench.model))
        env = worlds_of(bench, bench.num_envs, bench.threads)
        dynamics = env.task.dynamics
        threads = getattr(dynamics, "threads", None) if bench.device == "cpu" else None
        if bench.scaling_envs is None:
            bench = dataclasses.replace(bench, scaling_envs=scaling_worlds(dynamics))
        begin = start(env, bench.horizon)
        windows: dict[str, Any] = {"dynamics": DynamicsWindow(env, begin), "env": EnvWindow(env, begin)}
        memory = _memory(bench, env, lambda: windows["env"](Stopwatch(clock_of(bench.device))))
        scaling = _scaling_windows(bench, threads)
        peers = _mujoco_windows(bench, env, begin) if bench.peers else {}
        missing = missing_peers(bench.beside, skip=bench.skip_missing)
        there = [name for name in bench.beside if name not in missing]
        jax_peers = {name: _beside_window(name, bench, env, begin) for name in there}
        with contextlib.ExitStack() as stack:
            for peer in peers.values():
                stack.callback(peer.close)
            cases: dict[str, Callable[[Stopwatch], None]] = {**windows, **scaling, **peers, **jax_peers}
            laps = interleave(
                cases, repeats=bench.repeats, warm_up=_WARM_UP, clock=clock_of(bench.device), progress=progress
            )
        copied = copy_rate(bench.device, clock_of(bench.device))
    finally:
        torch.set_num_threads(threads_before)

    steps = bench.horizon * bench.num_envs
    substeps, dt = getattr(dynamics, "substeps", 1), dynamics.dt
    window = {"substeps": substeps, "dt": dt}
    rounds = bench.repeats + _WARM_UP
    scaling_steps = bench.horizon * (bench.scaling_envs or 0) if scaling else 0
    # Each window is simulated without and with recording; the environment's has one more, for its memory.
    env_steps = 2 * rounds * (2 * steps + len(scaling) * scaling_steps) + 2 * steps
    return {
        "benchmark": "sim",
        "task": bench.task,
        "num_envs": bench.num_envs,
        "horizon": bench.horizon,
        "device": bench.device,
        "dtype": bench.dtype,
        "threads": threads,
        "torch_threads": 1,
        "dt_s": dt,
        "substeps": substeps,
        "repeats": bench.repeats,
        **window_figures(laps["dynamics"], steps, **window),
        "diverged": windows["dynamics"].diverged + windows["env"].diverged,
        "env": {
            **window_figures(laps["env"], steps, **window),
            "episodes_ended": windows["env"].episodes_ended,
        },
        "memory": memory,
        "memory_traffic": _traffic(laps["dynamics"], step_bytes(dynamics), steps, copied),
        "scaling": scaling_figures({n: laps[name] for name, n in _scaling_names(scaling)}, bench, window),
        "peers": [peer_figures(laps[name], peer, steps, dt) for name, peer in peers.items()],
        "beside": [jax_figures(laps[name], peer, laps["dynamics"], steps * dt) for name, peer in jax_peers.items()],
        "missing": [{"name": name, "reason": reason} for name, reason in missing.items()],
        "env_steps": env_steps,
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions() | {peer.package: peer.version for peer in jax_peers.values()},
    }


def scaling_worlds(dynamics: Any) -> int:
    """Worlds that compare one thread with all: enough to share out, and not so many that nobody waits for them."""
    numbers = sum(math.prod(spec.shape) for spec in dynamics.state_spec)
    return min(1024, max(8, 2**17 // numbers))


def _walls(laps: Laps) -> dict[str, list[float]]:
    """Wall times of our windows [s]: forward alone, and recording forward pass plus backward pass."""
    both = zip(laps["recording"], laps["backward"], strict=True)
    return {"forward": [lap.wall for lap in laps["forward"]], "forward_backward": [a.wall + b.wall for a, b in both]}


def window_figures(laps: Laps, steps: int, *, substeps: int, dt: float) -> dict[str, Any]:
    """Rates and ratios of windows of ``steps`` control steps, summed over worlds; medians over repeats.

    ``backward_over_forward`` is the time of the backward pass alone, divided by that of the forward pass that records
    nothing; ``recording_over_forward`` is the time of the recording forward pass, divided by the same. Both are medians
    of the ratios within each repeat. Rates per ``cpu_s`` use the processor time of all threads instead of wall time,
    because a busy machine disturbs it less.
    """
    forward, recording, backward = (laps[part] for part in ("forward", "recording", "backward"))
    both = _walls(laps)["forward_backward"]
    both_cpu = [a.cpu + b.cpu for a, b in zip(recording, backward, strict=True)]
    forward_rate = steps / statistics.median(lap.wall for lap in forward)
    both_rate = steps / statistics.median(both)
    return {
        "forward_steps_per_s": forward_rate,
        "forward_backward_steps_per_s": both_rate,
        "backward_over_forward": _ratio(backward, forward),
        "recording_over_forward": _ratio(recording, forward),
        "forward_substeps_per_s": forward_rate * substeps,
        "forward_backward_substeps_per_s": both_rate * substeps,
        "forward_sim_s_per_s": forward_rate * dt,
        "forward_backward_sim_s_per_s": both_rate * dt,
        "forward_steps_per_cpu_s": steps / statistics.median(lap.cpu for lap in forward),
        "forward_backward_steps_per_cpu_s": steps / statistics.median(both_cpu),
        "busy_cores": {"forward": busy_cores(forward), "forward_backward": busy_cores([*recording, *backward])},
        "window_s": {
            "forward": spread([lap.wall for lap in forward]),
            "recording": spread([lap.wall for lap in recording]),
            "backward": spread([lap.wall for lap in backward]),
            "forward_backward": spread(both),
        },
    }


def _traffic(laps: Laps, moved: dict[str, int], steps: int, copied: float) -> dict[str, Any]:
    """The dynamics' least memory traffic divided by its time, and the rate of a copy on the same device."""
    sizes = {"forward": moved["forward"], "forward_backward": moved["recording"] + moved["backward"]}
    walls = _walls(laps)
    rows = {name: (size, size * steps / statistics.median(walls[name])) for name, size in sizes.items()}
    return {
        "copy_bytes_per_s": copied,
        "dynamics": {
            name: {"bytes_per_step": size, "bytes_per_s": rate, "of_copy": rate / copied}
            for name, (size, rate) in rows.items()
        },
    }


def scaling_figures(laps: dict[int, Laps], bench: SimBench, window: dict[str, Any]) -> dict[str, Any] | None:
    """One thread and all threads: a row of numbers for each, and the speed-up."""
    if not laps:
        return None
    steps = (bench.scaling_envs or 0) * bench.horizon
    rows = [{"threads": n, **window_figures(found, steps, **window)} for n, found in sorted(laps.items())]

    def speedup(key: str) -> float:
        return rows[-1][key] / rows[0][key]

    return {
        "num_envs": bench.scaling_envs,
        "rows": rows,
        "forward_speedup": speedup("forward_steps_per_s"),
        "forward_backward_speedup": speedup("forward_backward_steps_per_s"),
    }


def peer_figures(laps: Laps, peer: Any, steps: int, dt: float) -> dict[str, Any]:
    """A peer over the same window: its own steps, ours of the same duration, and simulated seconds, per second."""
    wall = statistics.median(lap.wall for lap in laps["forward"])
    figures = {
        "name": "mujoco",
        "threads": peer.threads,
        "dt_s": peer.step_s,
        "forward_steps_per_s": steps / wall,
        "forward_steps_per_cpu_s": steps / statistics.median(lap.cpu for lap in laps["forward"]),
        "own_steps_per_s": peer.steps / wall,
        "forward_sim_s_per_s": steps * dt / wall,
        "busy_cores": busy_cores(laps["forward"]),
        "window_s": {"forward": spread([lap.wall for lap in laps["forward"]])},
        "contacts_mean": peer.contacts(),
        "finite": peer.finite,
    }
    if "jacobians" in laps:
        from ._mujoco import JACOBIANS

        each = statistics.median(lap.wall for lap in laps["jacobians"]) / JACOBIANS
        figures["own_jacobians_per_s"] = 1 / each
        figures["jacobian_sim_s_per_s"] = peer.step_s / each
    return figures


def jax_figures(laps: Laps, peer: Any, ours: Laps, simulated_s: float) -> dict[str, Any]:
    """A simulator over a window of as many steps as ours: simulated seconds per second, and our speed-up.

    Args:
        laps: the peer's laps.
        peer: the peer's window.
        ours: the laps of our dynamics.
        simulated_s: simulated time of our window, summed over worlds [s].
    """
    duration = peer.step_s * peer.steps / peer.substeps
    walls = {name: statistics.median(lap.wall for lap in laps[name]) for name in laps}
    mine = {name: statistics.median(found) for name, found in _walls(ours).items()}
    their_cpu = {name: statistics.median(lap.cpu for lap in laps[name]) for name in walls}
    both_cpu = [a.cpu + b.cpu for a, b in zip(ours["recording"], ours["backward"], strict=True)]
    my_cpu = {"forward": [lap.cpu for lap in ours["forward"]], "forward_backward": both_cpu}
    return {
        "name": peer.name,
        "version": peer.version,
        "num_envs": peer.num_worlds,
        "dt_s": peer.step_s / peer.substeps,
        "substeps": peer.substeps,
        "finite": peer.finite,
        "finite_gradients": peer.finite_gradients(),
        "compile_s": peer.compile_s,
        **{f"{name}_steps_per_s": peer.steps / peer.substeps / wall for name, wall in walls.items()},
        **{f"{name}_sim_s_per_s": duration / wall for name, wall in walls.items()},
        **{f"{name}_times_slower": simulated_s / mine[name] / (duration / wall) for name, wall in walls.items()},
        **{
            f"{name}_times_slower_cpu": simulated_s / statistics.median(my_cpu[name]) / (duration / cpu)
            for name, cpu in their_cpu.items()
        },
        "window_s": {name: spread([lap.wall for lap in laps[name]]) for name in walls},
    }


def _beside_window(name: str, bench: SimBench, env: Any, begin: Any) -> Any:
    if bench.model is not None and name == "newton":
        raise ValueError("Newton is measured on the robots of tasks; leave --beside newton out, or --model")
    return peer_window(name, env, begin, _mjcf(bench), lambda: _controls(env, begin), bench.device)


def _controls(env: Any, begin: Any) -> Any:
    """``[T, N, nu]`` in the units of the task's model file, whose motors have the same controls as ours."""
    import numpy as np

    return np.stack([env.task.control(env.xp, action)[0].cpu().numpy() for action in begin.actions])


def _memory(bench: SimBench, env: Any, window: Callable[[], None]) -> dict[str, Any]:
    """Memory that a window keeps for its backward pass, and the growth of the process in its first run."""
    from diffsim_core import kept_bytes

    step = kept_bytes(env, 1)
    return {
        "option": bench.memory,
        "kept_step_bytes": step / bench.num_envs,
        "kept_window_bytes": step * bench.horizon,
        "peak_growth_bytes": peak_growth(window) if bench.device == "cpu" else None,
    }


def _robot(model: str) -> str:
    """The name of a task that has the robot of a file, registered if it is not."""
    from diffsim_core import list_tasks, register_task
    from diffsim_core.tasks import robot_task

    source = _source(model)
    name = f"robot {source.stem if isinstance(source, Path) else model}"
    if name not in list_tasks():
        factory: Any = robot_task(source)
        register_task(name, factory)
    return name


def _source(model: str) -> str | Path:
    from ._hulled import HULLED_HUMANOID, hulled_humanoid

    return hulled_humanoid() if model == HULLED_HUMANOID else Path(model)


def _mjcf(bench: SimBench) -> str | Path | None:
    """The model as MuJoCo reads it: text, or its file."""
    from ._mujoco import bundled_mjcf

    return bundled_mjcf(bench.task) if bench.model is None else _source(bench.model)


def worlds_of(bench: SimBench, num_envs: int, threads: int | None) -> Any:
    """Worlds to measure; None for the task's own number of threads."""
    from diffsim_core import make

    options = {"threads": threads, "memory": bench.memory}
    options = {name: value for name, value in options.items() if value is not None}
    return make(bench.task, num_envs=num_envs, device=bench.device, dtype=bench.dtype, **options)


def _scaling_windows(bench: SimBench, threads: int | None) -> dict[str, Any]:
    from ._windows import DynamicsWindow, start

    if not bench.scaling_envs or threads is None or threads == 1:
        return {}
    found = {}
    for n in (1, threads):
        env = worlds_of(bench, bench.scaling_envs, n)
        found[f"scaling_{n}"] = DynamicsWindow(env, start(env, bench.horizon))
    return found


def _scaling_names(scaling: dict[str, Any]) -> list[tuple[str, int]]:
    return [(name, int(name.rpartition("_")[2])) for name in scaling]


def _mujoco_windows(bench: SimBench, env: Any, begin: Any) -> dict[str, Any]:
    from ._mujoco import MuJoCoWindow

    mjcf = _mjcf(bench)
    if mjcf is None:
        return {}
    qpos, qvel = (part.detach().cpu().numpy() for part in begin.state.physics[:2])
    control = _controls(env, begin)

    def window(threads: int) -> MuJoCoWindow:
        return MuJoCoWindow(mjcf, qpos, qvel, control, dt=env.spec.dt, threads=threads, jacobians=threads == 1)

    counts: Sequence[int] = sorted({1, available_cores()})
    return {f"mujoco_{threads}": window(threads) for threads in counts}


def _ratio(above: Sequence[Lap], below: Sequence[Lap]) -> float:
    return statistics.median(a.wall / b.wall for a, b in zip(above, below, strict=True))
