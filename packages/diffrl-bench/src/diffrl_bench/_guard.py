"""A guard of one training: a process between the training and who started it. It needs nothing but Python.

The guard gets its work as JSON in its first argument and prints how the training ended as JSON on stdout. Its stdin is
a pipe from its owner. A number in it is a signal for the training. Its end means that the owner is gone, and then the
training stops after its update, with a checkpoint: no training outlives its worker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STEP_S = 0.2


def main(work: dict[str, Any]) -> dict[str, Any]:
    """Train, or go on with a training; returns how that ended."""
    host = socket.gethostname()
    try:
        return _train(work, host)
    except OSError as error:  # there is no such command, or the disk is full
        return {"host": host, "code": 1, "reason": f"{type(error).__name__}: {error}"}


def _train(work: dict[str, Any], host: str) -> dict[str, Any]:
    folder, session = Path(work["folder"]), Path(work["session"])
    if not session.is_dir():
        return {"host": host, "missing": True}
    if _finished(folder):
        return {"host": host, "code": 0, "resumed": True, "wall_s": 0.0, "cpu_s": 0.0}
    owner = threading.Event()
    orders: list[int] = []
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        # A scheduler sends them to every process of a job. One that is ignored (nohup) stays ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), lambda number, frame: orders.append(number))
    threading.Thread(target=_listen, args=(orders, owner), daemon=True).start()
    _wait_until_free(folder / ".lock", work["patience_s"], owner)
    if owner.is_set() or orders:
        return {"host": host, "code": 128 + signal.SIGTERM, "resumed": True, "wall_s": 0.0, "cpu_s": 0.0}
    resumed = (folder / "run.json").exists()
    note = {"host": host, "pid": os.getpid(), "resumed": resumed, "began": time.time()}
    (session / f"{folder.name}.json").write_text(json.dumps(note), encoding="utf-8")
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    began = time.perf_counter()
    with Path(work["log"]).open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            work["resume"] if resumed else work["begin"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **work["env"]},
            cwd=work["cwd"] if Path(work["cwd"]).is_dir() else None,
            preexec_fn=ends_with_parent(),
        )
        code, cpu_s = _attend(process, orders, owner, work["patience_s"])
    wall_s = time.perf_counter() - began
    return {"host": host, "code": code, "resumed": resumed, "wall_s": wall_s, "cpu_s": cpu_s, "load": load}


def _listen(orders: list[int], owner: threading.Event) -> None:
    for line in sys.stdin:
        orders.append(int(line))
    owner.set()


def _attend(
    process: subprocess.Popen[Any], orders: list[int], owner: threading.Event, patience_s: float
) -> tuple[int, float | None]:
    """Wait for the training and pass signals on to it; its exit code and its processor time [s]."""
    gone: float | None = None
    while True:
        if (ended := reap(process)) is not None:
            return ended
        while orders:
            os.kill(process.pid, orders.pop(0))
        if owner.is_set() and gone is None:
            gone = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
        elif gone is not None and time.monotonic() - gone > patience_s:
            process.kill()
        time.sleep(_STEP_S / 4)


def reap(process: subprocess.Popen[Any]) -> tuple[int, float | None] | None:
    """Exit code of a process that has ended, and processor time of it and of what it started [s]; None before."""
    if hasattr(os, "wait4"):
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not pid:
            return None
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage.ru_utime + usage.ru_stime
    return None if process.poll() is None else (process.returncode, None)


def ends_with_parent() -> Callable[[], None] | None:
    """What makes the kernel send SIGTERM to a new process once its parent, the guard, is gone, whatever ended that."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return lambda: library.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _wait_until_free(lock: Path, patience_s: float, owner: threading.Event) -> None:
    """Wait until no other process trains in the folder: one whose owner is gone still writes its checkpoint."""
    try:
        import fcntl
    except ImportError:  # the training itself looks at its lock
        return
    end = time.monotonic() + patience_s
    while lock.exists() and time.monotonic() < end and not owner.is_set():
        with lock.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(_STEP_S)


def _finished(folder: Path) -> bool:
    try:
        values = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("status") == "finished"


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
