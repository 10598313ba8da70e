"""The process that loads and measures models, for ``diffrl bench models``: nothing that a model does ends ours."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any

from ._model_job import END


class Worker:
    """Runs one job after the other in a child process, and starts a new one when that died or was too slow.

    Args:
        seconds: time that a job may take.
        memory_gib: memory that the child may use, where the system can limit it.
        command: what starts the child; by default ``_model_job.py``.
    """

    def __init__(self, *, seconds: float, memory_gib: float, command: tuple[str, ...] = ()) -> None:
        self._seconds = seconds
        self._command = [*(command or (sys.executable, "-m", "diffrl_bench._model_job")), str(memory_gib)]
        self._child: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, job: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """The lines of all stages that the job reached, and what ended it before its time, or None."""
        child = self._child or self._start()
        assert child.stdin is not None
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + self._seconds
        try:
            child.stdin.write(json.dumps(dict(job)) + "\n")
            child.stdin.flush()
        except OSError:
            return found, self._death()
        while True:
            try:
                text = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                self._end()
                return found, f"not done after {self._seconds:g} s"
            if not text:
                return found, self._death()
            line = json.loads(text)
            if line["stage"] != END:
                found.append(line)
            elif error := line.get("error"):
                self._end()  # what is left of its memory is unknown
                return found, str(error)
            else:
                return found, None

    def _start(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert child.stdout is not None
        self._child, self._lines = child, queue.SimpleQueue()
        threading.Thread(target=_read, args=(child.stdout, self._lines), daemon=True).start()
        return child

    def _death(self) -> str:
        assert self._child is not None
        code = self._child.wait()
        self._end()
        return f"the process died by signal {-code}" if code < 0 else f"the process ended with exit code {code}"

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):  # it was to flush a job to a child that died
                    stream.close()
            self._child = None


def _read(stream: IO[str], lines: queue.SimpleQueue[str]) -> None:
    """Hand on the lines of a stream, and an empty one at its end."""
    try:
        for line in stream:
            lines.put(line)
    except ValueError:  # closed meanwhile
        pass
    lines.put("")
