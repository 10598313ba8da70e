"""``diffrl bench update --against``: updates of this build and of another one, by turns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._machine import machine, versions
from ._stopwatch import Lap, Progress, spread, unseen
from ._update import UpdateBench

_JOB = Path(__file__).with_name("_update_job.py")


def bench_against(bench: UpdateBench, checkout: Path, progress: Progress = unseen) -> dict[str, Any]:
    """Time plain updates of this build and of the build in another checkout of the repository, by turns.

    Each build runs in a process of its own, on the CPU, with its own presets and defaults. Other load disturbs both
    alike. The order changes from turn to turn.

    Args:
        bench: what to measure; ``device``, ``framework`` and ``compare`` stay as they are by default.
        checkout: folder of the other checkout, with ``packages/*/src`` in it.
        progress: is told how many of the updates are done.

    Returns:
        The report of ``--json``.

    Raises:
        ValueError: the folder holds no build, a setting is not for two builds, or one of them refuses the settings.
    """
    for name, usual in (("device", "cpu"), ("framework", None), ("compare", ())):
        if (value := getattr(bench, name)) != usual:
            raise ValueError(f"{name} is {value!r}; with --against, leave it out: builds differ in nothing else")
    sources = sorted(checkout.resolve().glob("packages/*/src"))
    if not any(source.parent.name == "diffrl-algos" for source in sources):
        raise ValueError(f"against is {str(checkout)!r}; expected a checkout of this repository, with packages/*/src")
    began, facts = time.perf_counter(), machine()
    with contextlib.ExitStack() as stack:
        builds = [stack.enter_context(_build(bench, paths)) for paths in ([Path(p) for p in sys.path if p], sources)]
        (here, first), (there, second) = builds
        if not Path(second["file"]).is_relative_to(checkout.resolve()):
            raise ValueError(f"against is {str(checkout)!r}, but Python took {second['file']}; use another environment")
        laps: tuple[list[Lap], list[Lap]] = [], []
        for k in range(bench.updates):
            progress("updates", k / bench.updates)
            for one in (0, 1) if k % 2 else (1, 0):
                laps[one].append(_update((here, there)[one]))
    ours, theirs = laps
    turns = list(zip(ours, theirs, strict=True))
    return {
        "benchmark": "update_against",
        "algo": bench.algo,
        "task": bench.task,
        "num_envs": first["num_envs"],
        "horizon": first["horizon"],
        "threads": bench.threads,
        "seed": bench.seed,
        "warm_up": bench.warm_up,
        "updates": bench.updates,
        "commits": {"here": _commit(_JOB.parent), "against": _commit(checkout)},
        "here": _times(ours),
        "against": _times(theirs),
        "times_faster_cpu": spread([b.cpu / a.cpu for a, b in turns]),
        "times_faster_wall": spread([b.wall / a.wall for a, b in turns]),
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


def _times(laps: list[Lap]) -> dict[str, Any]:
    return {"update_cpu_s": spread([lap.cpu for lap in laps]), "update_s": spread([lap.wall for lap in laps])}


@contextlib.contextmanager
def _build(bench: UpdateBench, paths: list[Path]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process with the packages of one build, after its warm-up, and what it says of itself."""
    job = {name: getattr(bench, name) for name in ("algo", "task", "num_envs", "threads", "seed", "warm_up")}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, str(_JOB), json.dumps(job)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            answer = _answer(process)
            if "error" in answer:
                raise ValueError(answer["error"])
            yield process, answer
        finally:
            process.kill()


def _update(process: subprocess.Popen[str]) -> Lap:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer = _answer(process)
    return Lap(answer["wall"], answer["cpu"])


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None and process.stderr is not None
    if line := process.stdout.readline():
        return json.loads(line)
    raise RuntimeError(f"a build ended without an answer:\n{process.stderr.read()}")


def _commit(folder: Path) -> str | None:
    """The commit of a checkout, or None; with ``+`` where files differ from it."""
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
