"""``diffrl bench run`` of a suite of measurements: one process at a time, which has the machine to itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrl_algos._files import exclusive
from diffrl_algos._signals import Interrupted, StopSignals, stop_on_signals
from diffrl_algos._surroundings import surroundings

from ._attempts import diffrl
from ._extract import EXTRACTORS, figures_in
from ._guard import ends_with_parent, reap
from ._machine import load, machine, now
from ._measurement import FORMAT, MEASUREMENTS, Measurement, append_measurement, read_measurements
from ._record import Row
from ._record_file import NAME
from ._rows import last_line, place_of
from ._suite import Suite

if TYPE_CHECKING:
    from ._runner import RunSettings

_POLL_S = 0.05
_SHOW_S = 2.0
_PATIENCE_S = 10.0
"""Time for a process to end after SIGTERM [s]; then it is killed."""


def measure_suite(
    suite: Suite,
    settings: RunSettings,
    say: Callable[[str], None] = lambda line: None,
    show: Callable[[str], None] = lambda text: None,
    parse: Callable[[Sequence[str]], object] = lambda words: None,
) -> list[Row]:
    """Make every measurement that is not finished, in the suite's order, and return the rows of all.

    One that was cut off begins anew; one that failed is made again. A failure does not stop the others. Ctrl-C, SIGTERM
    and SIGHUP end the process of the measurement too. Reports are in the folder: the whole one in ``NAME.json``, what
    the process wrote on stderr in ``NAME.log``, and its figures in ``measurements.jsonl``.

    Args:
        suite: a suite with measurements, see ``load_suite``.
        settings: the folder, and the most hours.
        say: told what happens, a line at a time.
        show: told every two seconds which measurement is at work.
        parse: given each command before the first begins; raises ``ValueError`` for an unknown option.

    Raises:
        ValueError: a command or an option is unknown; the settings are not for measurements; or the folder holds
            results of other commands under the same names, of a smoke, or of trainings. Nothing was started.
        RunError: another process runs a suite in this folder.
        OSError: the folder cannot be written.
        Interrupted: after a signal; it is a ``KeyboardInterrupt``.
    """
    began = time.monotonic()
    _require_fitting(suite, settings)
    require_commands(suite, parse)
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(
        out / ".lock", f"another diffrl bench run is at work in {out}; wait until it ends, or choose another --out"
    ):
        rows = _rows_of(suite, out)
        pending = [one for one in suite.measurements if rows.get(one.name, {}).get("status") != "finished"]
        if done := len(suite.measurements) - len(pending):
            say(f"{done} of {len(suite.measurements)} measurements are finished already")
        deadline = None if settings.max_hours is None else began + 3600 * settings.max_hours
        with stop_on_signals() as stop, stop.held():
            for number, one in enumerate(pending):
                say(f"{one.name}: started, {len(pending) - number - 1} waiting")
                row = _measure(suite, one, settings, stop, deadline, show)
                if row is None:
                    say(f"the time is over; the same command measures {one.name} anew, and what follows")
                    break
                rows[one.name] = row
                say(f"{one.name}: {_outcome(row)}")
    return [rows[one.name] for one in suite.measurements if one.name in rows]


def require_commands(suite: Suite, parse: Callable[[Sequence[str]], object]) -> None:
    """Raise ``ValueError`` with all commands of a suite that have no figures, or that ``parse`` refuses."""
    wrong = []
    for one in suite.measurements:
        if one.command[0] not in EXTRACTORS:
            known = ", ".join(sorted(EXTRACTORS))
            wrong.append(f"{one.name}: the command {one.command[0]!r} has no figures; those that have are {known}")
            continue
        try:
            parse([*one.command, "--json"])
        except ValueError as error:
            wrong.append(f"{one.name}: {error}")
    if wrong:
        raise ValueError(f"suite {suite.name}: {'; '.join(wrong)}; nothing was started")


def _require_fitting(suite: Suite, settings: RunSettings) -> None:
    """Raise ``ValueError`` for settings that are for trainings only."""
    alone = f"suite {suite.name} measures speeds and gradients, and a measurement has the machine to itself"
    if settings.on != "local":
        raise ValueError(f"{alone}: --on {settings.on} is for suites that train")
    if settings.jobs not in (None, 1):
        raise ValueError(f"{alone}: --jobs {settings.jobs} would disturb it; leave --jobs out")
    if settings.options or settings.threads is not None or settings.gpus_per_run:
        given = " ".join(settings.options) or ("--threads" if settings.threads is not None else "--gpus-per-run")
        raise ValueError(f"suite {suite.name} holds commands of diffrl bench, and {given} is for suites that train")


def _rows_of(suite: Suite, out: Path) -> dict[str, Row]:
    """The rows that the folder has; ``ValueError`` where they are of something else."""
    if (out / NAME).exists():
        raise ValueError(f"{out} holds results of trainings, {NAME}; choose another --out")
    rows = {row["measurement"]: row for row in read_measurements(out)}
    for row in rows.values():
        if row["suite"] != suite.name:
            raise ValueError(f"{out} holds measurements of suite {row['suite']!r}; choose another --out")
        if row["smoke"] != suite.smoke:
            kind, other = ("a smoke", "results") if suite.smoke else ("results", "a smoke")
            name = row["measurement"]
            raise ValueError(f"{out} holds {other} ({name}), and this is {kind}; choose another --out")
    for one in suite.measurements:
        if one.name in rows and rows[one.name]["command"] != list(one.command):
            raise ValueError(
                f"{out} holds {one.name} made with {' '.join(rows[one.name]['command'])!r}, not "
                f"{' '.join(one.command)!r}; choose another --out"
            )
    return rows


def _measure(
    suite: Suite,
    one: Measurement,
    settings: RunSettings,
    stop: StopSignals,
    deadline: float | None,
    show: Callable[[str], None],
) -> Row | None:
    """Make a measurement and record it; its row, or None if the time was over before."""
    here, loaded = machine(), load()

    def record(**told: Any) -> Row:
        row = {"format": FORMAT, "suite": suite.name, "measurement": one.name, "command": list(one.command), **told}
        row |= {"smoke": suite.smoke, "time": now(), **place_of(here)}
        append_measurement(settings.out / MEASUREMENTS, row)
        return row

    record(status="unfinished")
    report = settings.out / f"{one.name}.json"
    began = time.monotonic()
    try:
        process = _start(one, settings, report)
    except OSError as error:
        return record(status="failed", error=f"{type(error).__name__}: {error}")
    try:
        code, cpu_s = _attend(process, stop, deadline, lambda: show(f"{one.name}, {time.monotonic() - began:.0f} s"))
    finally:
        _end(process)
        if process.returncode == 0:
            _part(report).replace(report)
        else:
            _part(report).unlink(missing_ok=True)
    if code is None:
        return None
    seconds = time.monotonic() - began
    if code:
        return record(status="failed", error=f"exit code {code}: {last_line(settings.out / f'{one.name}.log')}")
    try:
        said = json.loads(report.read_text(encoding="utf-8"))
        found = figures_in(one.command[0], said)
        versions = said.get("versions")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return record(
            status="failed", error=f"its report, {report.name}, has no figures: {type(error).__name__}: {error}"
        )
    told = {"load": loaded, "commit": surroundings()["commit"], "versions": versions}
    told["missing"] = [key for key, value in told.items() if value is None]
    return record(status="finished", **told, process_s=seconds, cpu_s=cpu_s, **found._asdict())


def _part(report: Path) -> Path:
    return report.with_name(f"{report.name}.part")


def _start(one: Measurement, settings: RunSettings, report: Path) -> subprocess.Popen[bytes]:
    command = [*(settings.command or diffrl()), "bench", *one.command, "--json"]
    with _part(report).open("wb") as out, report.with_suffix(".log").open("wb") as log:
        # In a session of its own, so that a signal reaches it and what it started once, from here.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
            preexec_fn=ends_with_parent(),
        )


def _attend(
    process: subprocess.Popen[bytes], stop: StopSignals, deadline: float | None, show: Callable[[], None]
) -> tuple[int | None, float | None]:
    """Wait for a process: its exit code and processor time [s]; no code once the time is over.

    Raises:
        Interrupted: a signal came.
    """
    shown = time.monotonic()
    while (ended := reap(process)) is None:
        if stop.received is not None:
            raise Interrupted(stop.received, "interrupted; the same command begins this measurement anew")
        if deadline is not None and time.monotonic() >= deadline:
            return None, None
        if time.monotonic() - shown >= _SHOW_S:
            shown = time.monotonic()
            show()
        time.sleep(_POLL_S)
    return ended


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and what it started."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if process.returncode is not None or reap(process) is not None:
            return
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        end = time.monotonic() + _PATIENCE_S
        while reap(process) is None and time.monotonic() < end:
            time.sleep(_POLL_S)


def _outcome(row: Row) -> str:
    if row["status"] != "finished":
        return f"{row['status']}, {row['error']}"
    missing = [f"{one['subject']} is missing: {one['missing']}" for one in row["subjects"] if one["missing"]]
    return "; ".join([f"{len(row['figures'])} figures after {row['process_s']:.0f} s", *missing])
