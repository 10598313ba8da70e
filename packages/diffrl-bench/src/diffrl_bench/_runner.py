"""``diffrl bench run``: the runs of a suite in local processes. Finished runs are not run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from diffrl_algos._files import exclusive
from diffrl_algos._signals import Interrupted, stop_on_signals

from ._machine import available_cores, describe, load, machine
from ._record import FORMAT, Row, config_hash
from ._record_file import NAME, append_row
from ._results import as_curve, curve, read_results
from ._suite import PlannedRun, Suite
from ._traces import best_return, traces_of

_FROM_SUMMARY = (
    "return_mean",
    "return_std",
    "length_mean",
    "episodes",
    "iterations",
    "env_steps",
    "wall_s",
    "device",
    "training_diverged",
    "refused_updates",
)
_POLL_S = 0.1
_HARDER = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL) if hasattr(signal, "SIGKILL") else (signal.SIGTERM,)
"""What ``diffrl train`` stops by: after its update; at once, with the update before; and whatever happens."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of running a suite."""

    out: Path
    """Folder of the results, with a folder for each run."""
    jobs: int | None = None
    """Runs at a time; None for the suite's number."""
    threads: int | None = None
    """CPU threads of each run's simulator; None for the suite's number."""
    options: tuple[str, ...] = ()
    """Additional options of ``diffrl train`` for every run."""
    command: tuple[str, ...] = ()
    """The command that starts ``diffrl``; by default that of this environment."""

    def __post_init__(self) -> None:
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")


def run_suite(suite: Suite, settings: RunSettings, say: Callable[[str], None] = lambda line: None) -> list[Row]:
    """Run every unfinished run, and return the rows of all runs of the suite, in its order.

    A run that was cut off continues from its last checkpoint; one that failed is tried again. A failure does not stop
    the others. Ctrl-C, SIGTERM and SIGHUP stop the running ones after their current update, with a checkpoint; a second
    Ctrl-C at once, with the update before.

    Raises:
        ValueError: the folder holds results of the same runs with other options.
        RunError: another process runs a suite in this folder.
        OSError: the folder cannot be written.
        Interrupted: after a signal, once all runs have stopped; it is a ``KeyboardInterrupt``.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    busy = f"another diffrl bench run is at work in {settings.out}; wait until it ends, or choose another --out"
    with exclusive(settings.out / ".lock", busy):
        return _run_suite(suite, settings, say)


def _run_suite(suite: Suite, settings: RunSettings, say: Callable[[str], None]) -> list[Row]:
    plan = [replace(run, options=(*run.options, *settings.options)) for run in suite.runs]
    rows = {row["run"]: row for row in read_results(settings.out)}
    for run in plan:
        if run.name in rows and rows[run.name]["arguments"] != run.arguments:
            raise ValueError(
                f"{settings.out} holds {run.name} made with {' '.join(rows[run.name]['arguments'])}, "
                f"not {' '.join(run.arguments)}; choose another --out"
            )
    pending = [run for run in plan if rows.get(run.name, {}).get("status") != "finished"]
    if len(pending) < len(plan):
        say(f"{len(plan) - len(pending)} of {len(plan)} runs are finished already")

    def record(row: Row) -> None:
        row = {"format": FORMAT, "suite": suite.name, **row, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        if row["status"] == "finished" and suite.traces:
            row["traces"] = traces_of(settings.out / row["run"] / "metrics.jsonl", suite.traces)
        append_row(settings.out / NAME, row)
        rows[row["run"]] = row

    jobs = settings.jobs or suite.jobs
    threads = settings.threads or suite.threads or max(1, available_cores() // jobs)
    found = machine()
    facts = {"jobs": jobs, "threads": threads, "machine": describe(found)}
    facts["hardware"] = {key: value for key, value in found.items() if key != "load_before"}
    _run_all(pending, settings, facts, record, say)
    return [rows[run.name] for run in plan]


def _run_all(
    pending: Sequence[PlannedRun],
    settings: RunSettings,
    facts: dict[str, Any],
    record: Callable[[Row], None],
    say: Callable[[str], None],
) -> None:
    waiting, running = list(pending), list[_Process]()
    with stop_on_signals() as stop, stop.held():
        try:
            while waiting or running:
                if stop.received is not None:
                    say("stopping: every run writes a checkpoint; the same command continues them")
                    raise Interrupted(stop.received, "interrupted; the same command continues the runs")
                while waiting and len(running) < facts["jobs"]:
                    running.append(_Process(waiting.pop(0), settings, facts))
                    # So that a later call knows the options of a run that was cut off.
                    record({**_row(running[-1].run, "unfinished"), **facts})
                    say(f"{running[-1].run.name}: {running[-1].beginning}, {len(waiting)} waiting")
                for process in [process for process in running if process.poll() is not None]:
                    running.remove(process)
                    row = process.row()
                    record(row)
                    say(_outcome(row))
                time.sleep(_POLL_S)
        finally:
            _end(running)


def _end(running: Sequence[_Process]) -> None:
    """Stop what still runs: after its update, with a second Ctrl-C at once, with a third without a last checkpoint."""
    for number in _HARDER:
        for process in running:
            process.stop(number)
        try:
            for process in running:
                process.close()
            return
        except KeyboardInterrupt:
            continue


class _Process:
    """One run in a separate process."""

    def __init__(self, run: PlannedRun, settings: RunSettings, facts: dict[str, Any]) -> None:
        self.run = run
        self._facts = facts
        self._folder = settings.out / run.name
        self._log_path = settings.out / f"{run.name}.log"
        self._resumed = (self._folder / "run.json").exists()
        begin, go_on = [*run.arguments, "--out", str(self._folder)], ["--resume", str(self._folder), *imports_of(run)]
        arguments = go_on if self._resumed else begin
        self.beginning = "goes on" if self._resumed else "started"
        self._log: IO[str] = self._log_path.open("a", encoding="utf-8")
        self._began = time.perf_counter()
        self._load = load()
        self._cpu_s: float | None = None
        # In a separate session, so that it gets Ctrl-C once, from this process.
        self._process = subprocess.Popen(
            [*(settings.command or _diffrl()), "train", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DIFFSIM_NUM_THREADS": str(facts["threads"])},
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """The exit code of the run; None while it goes on."""
        if self._process.returncode is None and hasattr(os, "wait4"):
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return None
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._cpu_s = usage.ru_utime + usage.ru_stime
        return self._process.poll()

    def row(self) -> Row:
        """The row of the results."""
        seconds = time.perf_counter() - self._began
        row = _row(self.run, "failed")
        summary = _read(self._folder / "summary.json")
        if summary.get("status") == "finished":
            row |= {"status": "finished", **{key: summary.get(key) for key in _FROM_SUMMARY}}
            row |= {"return_best": best_return(self._folder / "metrics.jsonl")}
            # Of the whole process, start and compilation too; of only a part they would mislead.
            row |= {"process_s": None, "cpu_s": None} if self._resumed else {"process_s": seconds, "cpu_s": self._cpu_s}
            description = _read(self._folder / "run.json")
            row |= {key: description.get(key) for key in ("commit", "versions")}
            row |= {"load": self._load, "config_hash": config_hash(description)}
            row["curve"] = as_curve(curve(self._folder / "metrics.jsonl"))
            row["missing"] = [key for key in ("commit", "versions", "load", "config_hash") if row[key] is None]
        else:
            row["error"] = f"exit code {self._process.returncode}: {self._last_line()}"
        self.close()
        return {**row, **self._facts}

    def stop(self, number: int) -> None:
        """Send a signal to the run if it has not ended."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Wait until the run has ended."""
        self._process.wait()
        self._log.close()

    def _last_line(self) -> str:
        self._log.flush()
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def imports_of(run: PlannedRun) -> list[str]:
    """The options among a run's that name the user's own modules, which a resumed run needs again."""
    named = [f"--import={value}" for option, value in pairwise(run.options) if option == "--import"]
    return [*named, *(option for option in run.options if option.startswith("--import="))]


def _diffrl() -> list[str]:
    """The ``diffrl`` command of this environment."""
    script = Path(sys.executable).with_name("diffrl")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from diffrl_algos.cli import main; sys.exit(main())"]


def _row(run: PlannedRun, status: str) -> Row:
    who = {"run": run.name, "algorithm": run.algorithm, "task": run.task, "seed": run.seed}
    who["variant"] = run.variant
    return {**who, "arguments": run.arguments, "status": status}


def _outcome(row: Row) -> str:
    if row["status"] != "finished":
        return f"{row['run']}: {row['status']}, {row['error']}"
    score = "no return" if row["return_mean"] is None else f"return {row['return_mean']:.1f}"
    return f"{row['run']}: {score} after {row['wall_s']:.0f} s of training"


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
