"""The live view: a run's newest policy in a browser, during training or afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from diffsim_core.options import Option

from ._checkpoint import checkpoint_names
from ._clips import play_run
from ._errors import CheckpointError, UsageError
from ._imports import import_module
from ._run import Run
from ._signals import ENDING
from ._train import Callback, Status, Update

if TYPE_CHECKING:
    from diffsim_core.viewer.live import LiveView

PORT = 8080
PORT_OPTION = Option(name="port", kind=Annotated[int, Interval(ge=1, le=65535)], default=PORT, doc="Port of --live.")
_POLL_SECONDS = 1.0
"""Time between two checks for a new checkpoint [s]."""
_TRAINING_SECONDS = 6.0
"""Simulated time of each policy that is shown during training [s]."""


@contextlib.contextmanager
def live_view(port: int) -> Iterator[LiveView]:
    """A view that is closed at the end; ``UsageError`` if it cannot be opened."""
    with _usage_errors():
        from diffsim_core.viewer.live import LiveView

        view = LiveView(port)
    try:
        yield view
    finally:
        view.close()


def watch_run(path: Path, view: LiveView, wait: Callable[[float], bool], **options: Any) -> int:
    """Show the policy of a run, and each newer one that training saves, until ``wait`` returns True.

    Args:
        path: run folder.
        view: the view to show them in.
        wait: waits so many seconds; True ends the view.
        options: options of ``play_run``. With ``which`` other than ``"last"``, newer checkpoints are not shown.

    Returns:
        Number of policies shown.

    Raises:
        RunError: ``path`` is not a run folder.
        CheckpointError: the requested checkpoint does not exist, or is damaged.
        UsageError: the task is not one of rigid bodies, or an option is out of range.
    """
    run = Run.open(path)
    which = options.pop("which", "last")
    shown, count = "", 0
    while True:
        names = checkpoint_names(run.checkpoints)
        newest = names[-1] if names else ""
        if newest != shown and (which == "last" or not count):
            try:
                played = play_run(path, which=newest if which == "last" else which, **options)
            except CheckpointError:
                # Training may have removed it just now. If it is still the newest, it is damaged.
                if which != "last" or checkpoint_names(run.checkpoints)[-1:] == [newest]:
                    raise
                continue
            view.show(played.motion(), f"after {int(newest)} updates" if which == "last" else f"checkpoint {which}")
            shown, count = newest, count + 1
        if not names:
            view.say(f"**{run.spec.task}** no checkpoint yet; there is one every {run.spec.checkpoint_every} updates")
        lines = [line for line in run.metrics() if line.get("return_mean") is not None]
        view.plot(
            "training return over steps",
            [line["env_steps"] for line in lines],
            [line["return_mean"] for line in lines],
        )
        if wait(_POLL_SECONDS):
            return count


class Live(Callback):
    """Shows training in a browser. A separate process reads the checkpoints, so training keeps its bits.

    Args:
        path: run folder.
        port: port of the page on this machine.
        imports: modules that register tasks or algorithms.

    Raises:
        UsageError: viser is not installed or the port is not free; when training begins, the task has nothing to show.
    """

    def __init__(self, path: Path, port: int = PORT, imports: Sequence[str] = ()) -> None:
        with _usage_errors():
            from diffsim_core.viewer.live import check_live

            check_live(port)
        self._path, self._port, self._imports = path, port, list(imports)
        self._child: subprocess.Popen[bytes] | None = None

    def on_start(self, state: Any, fraction: float) -> None:
        with _usage_errors():
            from diffsim_core.viewer.live import check_live

            check_live(self._port, env=state.env)
        request = {"path": str(self._path), "port": self._port, "imports": self._imports}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process that writes it
        self._child = subprocess.Popen(
            [sys.executable, "-m", "diffrl_algos._live", json.dumps(request)],
            stdin=subprocess.PIPE,  # it closes when this process ends, in whatever way, and so ends the child
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        print(f"live view: http://127.0.0.1:{self._port}", file=sys.stderr)

    def on_update(self, update: Update) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._errors.seek(0)
            last = (self._errors.read().decode(errors="replace").splitlines() or ["no reason given"])[-1]
            print(f"\nthe live view has ended: {last}; training continues", file=sys.stderr)
            self._end()

    def on_stop(self, update: Update | None, status: Status) -> None:
        if self._child is not None:
            self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        assert child is not None and child.stdin is not None
        child.stdin.close()
        try:
            child.wait(2.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._errors.close()


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn the viewer's errors into ``UsageError`` that names the option."""
    try:
        yield
    except (ImportError, ValueError, TypeError) as error:
        raise UsageError(f"--live: {error}") from None


def main(text: str) -> None:
    """The process that shows a training, until its standard input closes."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # they are for training, which then ends this process
    if hasattr(os, "nice"):
        os.nice(10)  # training goes first; at 19 the view would starve on busy cores
    request = json.loads(text)
    for name in request["imports"]:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    ended = threading.Event()

    def listen() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock this thread would hold when the interpreter ends
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    with live_view(request["port"]) as view:
        watch_run(Path(request["path"]), view, ended.wait, seconds=_TRAINING_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
