"""Attempts at the runs of a suite: what a worker does, wherever it is, and where workers are found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple, Protocol

from ._machine import machine

_POLL_S = 0.2
_STOP = "stop"
_PREFIX = ".session-"
_FROM_ELSEWHERE = {getattr(signal, name, 0) for name in ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")} - {0}
"""Signals that a training does not cause itself, unlike SIGSEGV."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a run, in JSON's types: a run begins or goes on, whichever its folder asks for then."""

    folder: str
    """Run folder."""
    log: str
    """File for what the training prints."""
    begin: list[str]
    """Arguments of ``diffrl`` for a new run."""
    resume: list[str]
    """Arguments that go on with it."""
    command: list[str]
    """The command that starts ``diffrl``; none for that of the worker's environment."""
    cwd: str
    """Folder to work in, if the worker has it."""
    session: str
    """Folder of this call of ``run_suite``; once it is gone, or holds a file ``stop``, its trainings stop."""
    env: dict[str, str]
    """Environment variables of the training."""
    patience_s: float = 300.0
    """Time for the last update and the checkpoint of a training whose worker is gone [s]."""


class Ended(NamedTuple):
    """How an attempt ended."""

    code: int | None = None
    """Exit code of the training; None where that is not known: its worker vanished."""
    reason: str = ""
    """Why it is not known, or why there was no attempt."""
    host: str | None = None
    resumed: bool = True
    """Whether the run had begun before."""
    wall_s: float | None = None
    """Time of the training's process [s]."""
    cpu_s: float | None = None
    """Processor time of it and of what it started [s]."""
    load: float | None = None
    """Load average of the last minute of the worker's machine as it began."""
    machine: dict[str, Any] | None = None
    """The worker's machine, where that is another one."""

    @property
    def vanished(self) -> bool:
        """Whether a signal from elsewhere, or the loss of its worker, ended the attempt: another one goes on."""
        number = 0 if self.code is None else max(-self.code, self.code - 128)
        return self.code is None or number in _FROM_ELSEWHERE


class Task(Protocol):
    """An attempt that was given to a worker."""

    def ended(self) -> Ended | None:
        """How it ended; None while it goes on, or waits for a worker. It does not wait."""
        ...

    def stop(self, number: int) -> None:
        """Pass a signal on to the training where ``ask_to_stop`` does not; what waits for a worker never begins."""
        ...

    def wait(self) -> None:
        """Wait until it has ended."""
        ...


class Engine(Protocol):
    """Where workers are found."""

    slots: int
    """Attempts that are given away at a time."""
    poll_s: float
    """Time between two looks at them [s]."""

    def start(self, attempt: Attempt, name: str) -> Task:
        """Give an attempt to a worker, now or once there is one."""
        ...

    def close(self) -> None:
        """Leave the workers alone."""
        ...


class GuardedProcess:
    """An attempt in a process of this machine; ``environment`` is added to the variables of the attempt."""

    def __init__(self, attempt: Attempt, environment: Mapping[str, str] | None = None) -> None:
        work = asdict(attempt)
        work["env"] = {**attempt.env, **(environment or {})}
        command = attempt.command or diffrl()
        work |= {"begin": [*command, *attempt.begin], "resume": [*command, *attempt.resume]}
        guard = str(Path(__file__).with_name("_guard.py"))
        # In a separate session, so that Ctrl-C reaches the training once, through the guard.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard, json.dumps(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._ended: Ended | None = None

    def ended(self) -> Ended | None:
        """As ``Task``."""
        if self._ended is None and self._process.poll() is not None:
            out, _ = self._process.communicate()
            self._ended = _read(out, self._process.returncode)
        return self._ended

    def stop(self, number: int) -> None:
        """As ``Task``."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            try:
                self._process.stdin.write(f"{int(number)}\n")
                self._process.stdin.flush()
            except OSError:  # it has just ended
                pass

    def wait(self) -> None:
        """As ``Task``."""
        self._process.wait()


def diffrl() -> list[str]:
    """The ``diffrl`` command of this environment."""
    script = Path(sys.executable).with_name("diffrl")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from diffrl_algos.cli import main; sys.exit(main())"]


def _read(out: str, code: int) -> Ended:
    try:
        found = json.loads(out)
    except ValueError:
        return Ended(reason=f"its guard ended with exit code {code}")
    if found.pop("missing", False):
        return Ended(code=2, reason=_not_shared(found["host"]), host=found["host"])
    return Ended(**found)


def _not_shared(host: str) -> str:
    return f"{host} does not see the folder of the results; --out must be on a file system that all workers share"


def carry_out(attempt: dict[str, Any], hold: Callable[[GuardedProcess], None] = lambda process: None) -> dict[str, Any]:
    """What a worker of a cluster does: an attempt, from beginning to end; ``Ended`` in JSON's types.

    It obeys the file ``stop`` of the session, which holds the number of a signal. ``hold`` is given the process.
    """
    work = Attempt(**attempt)
    session = Path(work.session)
    if session.is_dir() and (session / _STOP).exists():
        return Ended(code=128 + signal.SIGTERM)._asdict()
    process, passed = GuardedProcess(work), 0
    try:
        hold(process)
        while (ended := process.ended()) is None:
            number = _asked(session)
            if number != passed:
                process.stop(number)
                passed = number
            time.sleep(_POLL_S)
    except BaseException:
        # A signal of the engine: the end of the time, for instance. The guard sees the pipe close in any case.
        process.stop(signal.SIGTERM)
        process.wait()
        raise
    return ended._replace(machine=machine())._asdict()


def _asked(session: Path) -> int:
    """The signal that the trainings of a session are to get; 0 for none."""
    try:
        return int((session / _STOP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0 if session.is_dir() else signal.SIGTERM


def has_begun(attempt: Attempt) -> bool:
    """Whether a worker has begun with an attempt in this session."""
    return note_of(attempt) is not None


def note_of(attempt: Attempt) -> dict[str, Any] | None:
    """What the guard of an attempt noted as it began: ``host``, ``pid``, ``resumed`` and ``began`` [s since 1970]."""
    try:
        return json.loads((Path(attempt.session) / f"{Path(attempt.folder).name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def forget(attempt: Attempt) -> None:
    """Remove the note of an attempt that another one of the same run follows."""
    (Path(attempt.session) / f"{Path(attempt.folder).name}.json").unlink(missing_ok=True)


@contextmanager
def session_in(out: Path) -> Iterator[Path]:
    """A folder in ``out`` that tells all workers that this call goes on; those of killed calls are removed."""
    for old in out.glob(f"{_PREFIX}*"):
        rmtree(old, ignore_errors=True)
    folder = out / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def ask_to_stop(session: Path, number: int) -> None:
    """Let the workers of a session pass a signal on to their trainings."""
    part = session / f"{_STOP}.part"
    try:
        part.write_text(str(int(number)), encoding="utf-8")
        os.replace(part, session / _STOP)
    except OSError:  # a full disk: they stop without the folder too
        rmtree(session, ignore_errors=True)
