"""``diffrl bench run``: the runs of a suite, each in a process of this machine or of a cluster, each exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from diffrl_algos._files import exclusive

from ._attempts import Attempt, Ended, Engine, session_in
from ._machine import available_cores, machine, now
from ._plan import require_same, specs_of
from ._record import FORMAT, Row
from ._record_file import NAME, append_row
from ._results import read_results
from ._rows import ended_row, imports_of, outcome, place_of, planned_row
from ._schedule import Schedule, run_all
from ._suite import PlannedRun, Suite
from ._traces import traces_of

ENGINES = ("local", "ray", "slurm")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of running a suite."""

    out: Path
    """Folder of the results, with a folder for each run. Workers on other machines must have it too."""
    jobs: int | None = None
    """Runs at a time; None for the suite's number, and on a cluster for as many as it has room for."""
    threads: int | None = None
    """CPU threads of each run's simulator; None for the suite's number. A cluster reserves as many processors."""
    options: tuple[str, ...] = ()
    """Additional options of ``diffrl train`` for every run."""
    command: tuple[str, ...] = ()
    """The command that starts ``diffrl``; by default that of this environment. The options of another command are not
    looked at before the first run."""
    on: Literal["local", "ray", "slurm"] = "local"
    """Where the runs are: processes of this machine, tasks of Ray, or jobs of Slurm."""
    address: str | None = None
    """Of a Ray cluster, as ``ray.init`` takes it; None for one of this machine. For Slurm ``local`` tries the jobs
    without it."""
    slurm: Mapping[str, str] = field(default_factory=dict)
    """Options of Slurm's jobs: ``partition``, ``account``, ``timeout_min`` and others."""
    gpus_per_run: float = 0.0
    """GPUs of each run, or the part of one; they come from ``on``, and the runs need ``--device cuda``."""
    max_hours: float | None = None
    """Time of this call [h]; then all runs stop with a checkpoint, and the next call goes on."""
    retries: int = 3
    """Times that a run goes on in this call after its worker vanished."""

    def __post_init__(self) -> None:
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.on not in ENGINES:
            raise ValueError(f"on is {self.on!r}; expected {', '.join(ENGINES)}")
        if self.max_hours is not None and not self.max_hours > 0:
            raise ValueError(f"max_hours is {self.max_hours:g}; it must be above 0")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries}; it must be at least 0")
        if not (self.gpus_per_run >= 0 and (self.gpus_per_run < 1 or self.gpus_per_run == int(self.gpus_per_run))):
            raise ValueError(f"gpus_per_run is {self.gpus_per_run:g}; expected a whole number, or a part below 1")
        if self.address is not None and self.on == "local":
            raise ValueError("address is for on='ray' or 'slurm'; local processes have none")
        if self.address not in (None, "local") and self.on == "slurm":
            raise ValueError(f"address is {self.address!r}; for Slurm it is 'local', which tries the jobs without it")
        if self.slurm and self.on != "slurm":
            raise ValueError("slurm has options, and on is not 'slurm'")


def run_suite(
    suite: Suite,
    settings: RunSettings,
    say: Callable[[str], None] = lambda line: None,
    show: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Run every unfinished run, the first seed of everything first, and return the rows of all, in the suite's order.

    A run that was cut off continues from its last checkpoint; one that failed is tried again. A failure does not stop
    the others. A run whose worker vanishes, killed or lost with its machine, goes on in another. Ctrl-C, SIGTERM and
    SIGHUP stop the running ones after their current update, with a checkpoint; a second Ctrl-C at once, with the update
    before.

    Args:
        suite: see ``load_suite``.
        settings: where, and how many at a time.
        say: told what happens, a line at a time.
        show: told every two seconds how much of the suite is done and how long the rest takes.

    Raises:
        ValueError: a run names an unknown algorithm, task or option; the folder holds results of the same runs with
            other settings, or of a smoke; or the cluster cannot be used. Nothing was started.
        RunError: another process runs a suite in this folder.
        OSError: the folder cannot be written.
        Interrupted: after a signal, once all runs have stopped; it is a ``KeyboardInterrupt``.
    """
    began = time.monotonic()
    plan = [replace(run, options=(*run.options, *settings.options)) for run in suite.runs]
    specs = {} if settings.command else specs_of(plan)
    settings.out.mkdir(parents=True, exist_ok=True)
    busy = f"another diffrl bench run is at work in {settings.out}; wait until it ends, or choose another --out"
    with exclusive(settings.out / ".lock", busy):
        rows = _rows_of(suite, settings, plan)
        require_same(settings.out, specs)
        with session_in(settings.out) as session:
            _run(suite, settings, plan, rows, session, began, say, show)
    return [rows[run.name] for run in plan if run.name in rows]


def _rows_of(suite: Suite, settings: RunSettings, plan: list[PlannedRun]) -> dict[str, Row]:
    """The rows that the folder has; ``ValueError`` where they are of other settings."""
    rows = {row["run"]: row for row in read_results(settings.out)}
    if mixed := [name for name, row in rows.items() if row.get("smoke", False) != suite.smoke]:
        kind, other = ("a smoke", "results") if suite.smoke else ("results", "a smoke")
        raise ValueError(f"{settings.out} holds {other} ({mixed[0]}), and this is {kind}; choose another --out")
    for run in plan:
        if run.name in rows and rows[run.name]["arguments"] != run.arguments:
            raise ValueError(
                f"{settings.out} holds {run.name} made with {' '.join(rows[run.name]['arguments'])}, "
                f"not {' '.join(run.arguments)}; choose another --out"
            )
    return rows


def _run(
    suite: Suite,
    settings: RunSettings,
    plan: list[PlannedRun],
    rows: dict[str, Row],
    session: Path,
    began: float,
    say: Callable[[str], None],
    show: Callable[[str], None],
) -> None:
    pending = [run for run in plan if rows.get(run.name, {}).get("status") != "finished"]
    # Everything with one seed before anything with the next: a suite that is stopped early can still be compared.
    pending.sort(key=lambda run: run.seed)
    if len(pending) < len(plan):
        say(f"{len(plan) - len(pending)} of {len(plan)} runs are finished already")
    if not pending:
        return
    local = settings.on == "local"
    jobs = settings.jobs or (suite.jobs if local else len(pending))
    threads = settings.threads or suite.threads or (max(1, available_cores() // jobs) if local else 1)
    facts = {"jobs": jobs if local else None, "threads": threads, **({"smoke": True} if suite.smoke else {})}
    here = machine()
    seconds = {name: row["process_s"] or row["wall_s"] for name, row in rows.items() if row["status"] == "finished"}

    def record(row: Row) -> None:
        row = {"format": FORMAT, "suite": suite.name, **row, "time": now()}
        if row["status"] == "finished" and suite.traces:
            row["traces"] = traces_of(settings.out / row["run"] / "metrics.jsonl", suite.traces)
        append_row(settings.out / NAME, row)
        rows[row["run"]] = row

    def begun(run: PlannedRun) -> None:
        # So that a later call knows the options of a run that was cut off.
        where = place_of(here) if local else {"machine": None, "hardware": None}
        record({**planned_row(run, "unfinished"), **facts, **where})

    def ended(run: PlannedRun, how: Ended, attempts: int) -> None:
        row = {**ended_row(run, settings.out, how, attempts), **facts, **place_of(how.machine or here)}
        record(row)
        if row["status"] == "finished":
            seconds[run.name] = row["process_s"] or row["wall_s"]
        say(outcome(row))

    with closing(_engine(settings, session, jobs, threads)) as engine:
        schedule = Schedule(
            plan=plan,
            engine=engine,
            session=session,
            attempt=lambda run: _attempt(run, settings, session, threads),
            begun=begun,
            ended=ended,
            retries=settings.retries,
            deadline=None if settings.max_hours is None else began + 3600 * settings.max_hours,
            seconds=seconds,
            say=say,
            show=show,
        )
        run_all(schedule, pending)


def _engine(settings: RunSettings, session: Path, jobs: int, threads: int) -> Engine:
    """Where the workers are; only what is asked for is imported."""
    if settings.on == "ray":
        from ._ray import RayEngine

        return RayEngine(address=settings.address, cpus=threads, gpus=settings.gpus_per_run, jobs=jobs)
    if settings.on == "slurm":
        from ._slurm import SlurmEngine

        local = settings.address == "local"
        folder = session / "submitit"
        return SlurmEngine(folder, settings.slurm, local=local, cpus=threads, gpus=settings.gpus_per_run, jobs=jobs)
    from ._local import LocalEngine

    return LocalEngine(jobs, settings.gpus_per_run)


def _attempt(run: PlannedRun, settings: RunSettings, session: Path, threads: int) -> Attempt:
    out = settings.out.absolute()
    folder = str(out / run.name)
    return Attempt(
        folder=folder,
        log=str(out / f"{run.name}.log"),
        begin=["train", *run.arguments, "--out", folder],
        resume=["train", "--resume", folder, *imports_of(run)],
        command=list(settings.command),
        cwd=str(Path.cwd()),
        session=str(session.absolute()),
        env={"DIFFSIM_NUM_THREADS": str(threads)},
    )
