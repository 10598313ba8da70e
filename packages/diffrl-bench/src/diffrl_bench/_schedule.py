"""The runs of a suite are given to workers until all have ended, the time is over, or somebody stops them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diffrl_algos._callbacks import clock
from diffrl_algos._signals import Interrupted, stop_on_signals

from ._attempts import Attempt, Ended, Engine, Task, ask_to_stop, forget, note_of
from ._progress import progress_of, seconds_left
from ._suite import PlannedRun

_SHOW_S = 2.0
"""Time between two looks at how far the runs are."""
_HARDER = (signal.SIGTERM, signal.SIGINT, *([signal.SIGKILL] if hasattr(signal, "SIGKILL") else []))
"""What ``diffrl train`` stops by: after its update; at once, with the update before; and whatever happens."""


@dataclass(kw_only=True)
class Schedule:
    """Runs, their workers, and what is to be done as they begin and end."""

    plan: Sequence[PlannedRun]
    """All runs of the suite."""
    engine: Engine
    session: Path
    """See ``session_in``."""
    attempt: Callable[[PlannedRun], Attempt]
    begun: Callable[[PlannedRun], None]
    """Called once before the first attempt at a run."""
    ended: Callable[[PlannedRun, Ended, int], None]
    """Called with how the last attempt at a run ended, and the number of attempts."""
    retries: int
    """Attempts that may follow one whose worker vanished."""
    deadline: float | None = None
    """Time of ``time.monotonic`` at which the runs stop; they can go on later."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of each finished run [s], by name."""
    say: Callable[[str], None] = lambda line: None
    """Told what happens, a line at a time."""
    show: Callable[[str], None] = lambda text: None
    """Told how far the suite is, again and again."""


@dataclass
class _Running:
    run: PlannedRun
    attempt: Attempt
    task: Task
    told: bool = False


def run_all(schedule: Schedule, pending: Sequence[PlannedRun]) -> None:
    """Run what is pending. A run whose worker vanished goes on in another; what failed is left to the next call.

    Raises:
        Interrupted: after a signal, once all runs have stopped; it is a ``KeyboardInterrupt``.
    """
    waiting, running, attempts = list(pending), list[_Running](), dict.fromkeys((run.name for run in pending), 0)
    shown = 0.0
    with stop_on_signals() as stop, stop.held():
        try:
            while waiting or running:
                if stop.received is not None:
                    schedule.say("stopping: every run writes a checkpoint; the same command continues them")
                    _end(schedule, running, attempts)
                    raise Interrupted(stop.received, "interrupted; the same command continues the runs")
                if schedule.deadline is not None and time.monotonic() >= schedule.deadline:
                    schedule.say("the time is over: every run writes a checkpoint; the same command continues them")
                    _end(schedule, running, attempts)
                    return
                while waiting and len(running) < schedule.engine.slots:
                    running.append(_start(schedule, waiting.pop(0), attempts))
                    if attempts[running[-1].run.name] == 1:
                        schedule.begun(running[-1].run)
                for one in running:
                    _tell(schedule, one, len(waiting))
                for one, ended in [(one, ended) for one in running if (ended := one.task.ended()) is not None]:
                    running.remove(one)
                    if ended.vanished and attempts[one.run.name] <= schedule.retries:
                        where = f" on {ended.host}" if ended.host else ""
                        reason = ended.reason or f"exit code {ended.code}"
                        schedule.say(f"{one.run.name}: its worker{where} vanished ({reason}); another one goes on")
                        waiting.insert(0, one.run)
                    else:
                        schedule.ended(one.run, ended, attempts[one.run.name])
                if time.monotonic() - shown >= _SHOW_S:
                    shown = time.monotonic()
                    schedule.show(_text(schedule, waiting, running))
                time.sleep(schedule.engine.poll_s)
        finally:
            _end(schedule, running, {})


def _start(schedule: Schedule, run: PlannedRun, attempts: dict[str, int]) -> _Running:
    attempt = schedule.attempt(run)
    forget(attempt)
    attempts[run.name] += 1
    return _Running(run, attempt, schedule.engine.start(attempt, run.name))


def _tell(schedule: Schedule, one: _Running, waiting: int) -> None:
    """Say once that a worker has begun."""
    if not one.told and (note := note_of(one.attempt)) is not None:
        one.told = True
        schedule.say(
            f"{one.run.name}: {'goes on' if note['resumed'] else 'started'} on {note['host']}, {waiting} waiting"
        )


def _end(schedule: Schedule, running: list[_Running], attempts: dict[str, int]) -> None:
    """Stop what still runs: after its update, with a second Ctrl-C at once, with a third without a last checkpoint.

    What happens to be finished then is recorded, if ``attempts`` are known.
    """
    for number in _HARDER if running else ():
        ask_to_stop(schedule.session, number)
        for one in running:
            one.task.stop(number)
        try:
            for one in running:
                one.task.wait()
            break
        except KeyboardInterrupt:
            continue
    for one in running if attempts else ():
        ended = one.task.ended()
        if ended is not None and ended.code == 0:
            schedule.ended(one.run, ended, attempts[one.run.name])
    running.clear()


def _text(schedule: Schedule, waiting: Sequence[PlannedRun], running: Sequence[_Running]) -> str:
    """``7 of 20 runs, 2 running, 11 waiting; 41 % of the suite, about 1:20:00 left``."""
    at_work = {one.run.name: progress_of(Path(one.attempt.folder)) for one in running if one.told}
    queued = {run.name: progress_of(Path(schedule.attempt(run).folder)) for run in waiting}
    queued |= {one.run.name: progress_of(Path(one.attempt.folder)) for one in running if not one.told}
    done = len(schedule.plan) - len(running) - len(waiting)
    part = (done + sum(one.fraction for one in [*at_work.values(), *queued.values()])) / len(schedule.plan)
    slots = min(schedule.engine.slots, max(1, len(at_work)))
    left = seconds_left(schedule.plan, schedule.seconds, at_work, queued, slots)
    rest = "" if left is None else f", about {clock(left)} left"
    counts = f"{done} of {len(schedule.plan)} runs, {len(at_work)} running, {len(queued)} waiting"
    return f"{counts}; {part:.0%} of the suite{rest}"
