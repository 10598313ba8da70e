"""``diffrl bench run --estimate``: processor time of the runs that a suite lacks, from a few updates of each.

estimates.jsonl   a line for each algorithm, task and variant, in the folder of the suite's results
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ._hours import Experiment, experiments
from ._machine import machine
from ._plan import specs_of
from ._record import Field, Row
from ._side_file import place, side_file
from ._stopwatch import Clock, Lap, Progress, unseen
from ._text import count, rounded, table
from ._update import timed_update

if TYPE_CHECKING:
    from diffrl_algos._spec import RunSpec

    from ._suite import Suite

WARM_UP = 2
LEAST, MOST = 2, 20
"""Timed updates: the least, and the most where updates are short."""
LONG_S = 0.5
"""Processor time of all timed updates from which no more than the least are made [s]."""
ESTIMATES = side_file(
    "estimates.jsonl",
    "diffrl-bench-estimate-1",
    {
        "algorithm": Field("text", "as diffrl train names it"),
        "task": Field("text", "as diffrl train names it"),
        "problem": Field("text", "what tells the task from another problem that its options make of it; may be empty"),
        "variant": Field("text", "what tells it from others of the same algorithm and task; may be empty"),
        "arguments": Field("texts", "arguments of diffrl train for the run whose updates were timed"),
        "threads": Field("whole", "CPU threads of the simulator"),
        "warm_up": Field("whole", "updates before the timed ones"),
        "measured": Field("whole", "updates that were timed"),
        "cpu_s_per_update": Field("number", "processor time of the process in an update [s], median"),
        "updates": Field("whole", "updates of the run's budget"),
        "core_hours": Field("number", "processor time of that many updates [h]; start and evaluation are not in it"),
    },
)


def estimate_suite(
    suite: Suite,
    folder: Path,
    rows: Sequence[Row],
    *,
    options: Sequence[str] = (),
    threads: int = 1,
    progress: Progress = unseen,
) -> list[Row]:
    """Time a few updates of everything of which runs are missing and no finished run tells the processor time.

    Args:
        suite: its runs.
        folder: gets the lines, each as soon as it is known.
        rows: records of the suite.
        options: additional options of ``diffrl train``.
        threads: CPU threads of the simulator.
        progress: told how much is done.

    Returns:
        The lines that were added.

    Raises:
        ValueError: nothing is missing; a run names an unknown algorithm, task or option; or a run has no end.
    """
    wanted = [one for one in experiments(suite, rows) if one.missing and one.measured is None]
    if not wanted:
        raise ValueError(f"suite {suite.name!r} lacks no runs whose time is not known; there is nothing to estimate")
    runs = {one: replace(one.run, options=(*one.run.options, *options)) for one in wanted}
    specs = specs_of(list(runs.values()))
    added: list[Row] = []
    for number, (one, run) in enumerate(runs.items()):
        progress(f"updates of {run.algorithm} on {one.task}", number / len(runs))
        before = machine()
        try:
            figures = estimate(specs[run.name], threads=threads)
        except ValueError as error:
            raise ValueError(f"{run.name}: {error}") from None
        row: Row = {"suite": suite.name, "algorithm": run.algorithm, "task": run.task, "problem": run.problem}
        row |= {"variant": run.variant, "arguments": run.arguments, "threads": threads, **figures, **place(before)}
        added.append(ESTIMATES.append(folder, row))
    return added


def estimate(spec: RunSpec, *, threads: int, clock: Clock | None = None) -> dict[str, Any]:
    """What an update of a run takes, and what all of its budget would.

    The first updates are no measure: they compile, and SAC and TD3 learn only after their random steps.

    Raises:
        ValueError: the run has no end, or its worlds cannot be made.
    """
    import diffsim_core

    clock = clock or Clock()
    if spec.budget.seconds == math.inf:
        raise ValueError("it goes on until it is stopped; give it --iterations, --env-steps or --seconds")
    if spec.entry.arrays == "torch" and "threads" in diffsim_core.task_options(spec.task).known:
        spec = replace(spec, task_options={**spec.task_options, "threads": threads})
    env: Any = spec.make_env()
    algorithm = spec.build()
    state = algorithm.init(env, spec.seed)
    random = getattr(spec.config, "warmup_steps", 0) * env.num_envs
    warm_up = 0
    while warm_up < WARM_UP or state.env_steps < random:
        state, _ = algorithm.update(state)
        warm_up += 1
    begin, laps = state.env_steps, list[Lap]()
    while len(laps) < LEAST or (len(laps) < MOST and sum(lap.cpu for lap in laps) < LONG_S):
        state, lap = timed_update(algorithm, state, clock)
        laps.append(lap)
    cpu_s, wall_s = median(lap.cpu for lap in laps), median(lap.wall for lap in laps)
    updates = updates_of(spec, (state.env_steps - begin) / len(laps), wall_s)
    figures = {"warm_up": warm_up, "measured": len(laps), "cpu_s_per_update": cpu_s}
    return {**figures, "updates": updates, "core_hours": updates * cpu_s / 3600}


def updates_of(spec: RunSpec, steps: float, wall_s: float) -> int:
    """Updates of a run's budget.

    Args:
        spec: the run.
        steps: control steps of an update, of all worlds together.
        wall_s: time of an update [s].
    """
    budget = spec.budget
    if budget.iterations is not None:
        return budget.iterations
    if budget.env_steps is not None:
        return math.ceil(budget.env_steps / steps)
    assert budget.seconds is not None
    return math.ceil(budget.seconds / wall_s)


def estimates_text(rows: Sequence[Row], experiments_of: Sequence[Experiment]) -> str:
    """A table of new estimates, and what all missing runs would take together."""
    missing = {(one.run.algorithm, one.run.task, one.run.problem, one.run.variant): one for one in experiments_of}
    lines: list[tuple[str, ...]] = []
    total, runs = 0.0, 0
    for row in rows:
        one = missing[row["algorithm"], row["task"], row["problem"], row["variant"]]
        hours = one.missing * row["core_hours"]
        total, runs = total + hours, runs + one.missing
        lines.append(
            (
                f"{one.learner} {one.task}",
                rounded(row["cpu_s_per_update"]),
                f"{row['updates']:,}",
                rounded(row["core_hours"]),
                str(one.missing),
                rounded(hours),
            )
        )
    head = ("", "processor s an update", "updates", "core hours a run", "runs missing", "core hours of all")
    return f"{table(head, lines)}\n\n{count(runs, 'run')}: {rounded(total)} core hours"
