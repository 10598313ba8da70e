"""Workers of a Ray cluster, which shares out its processors and GPUs (extra ``ray``)."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from diffsim_core._signals import ENDING

from ._attempts import Attempt, Ended, carry_out, has_begun

_POLL_S = 0.2


class RayEngine:
    """A task of Ray for each attempt.

    Args:
        address: as ``ray.init``: ``HOST:PORT``, ``auto`` for the cluster that this machine belongs to, ``local`` for a
            new one of this machine, or None for the first of the cluster of RAY_ADDRESS, ``auto`` and ``local`` that
            there is. What this process is connected to already is used as it is.
        cpus: processors of an attempt.
        gpus: GPUs of an attempt, or the part of one.
        jobs: attempts that are given to Ray at a time.

    Raises:
        ValueError: the extra is not installed, there is no cluster at the address, or no node of it has these
            resources.
    """

    poll_s = 0.5

    def __init__(self, *, address: str | None, cpus: int, gpus: float, jobs: int) -> None:
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ValueError("--on ray needs Ray: pip install 'diffrl-bench[ray]'") from None
        self._ray, self.slots = ray, jobs
        self._own = not ray.is_initialized()
        try:
            if self._own:
                with our_signals():
                    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise ValueError(
                f"--address {address}: {' '.join(str(error).split())}; if it is there, it may ask for a token: set "
                "RAY_AUTH_MODE=token"
            ) from None
        try:
            _require(ray.nodes(), cpus, gpus)
        except ValueError:
            self.close()
            raise
        # Ray knows of no checkpoints, so it tries nothing again; and every attempt has a fresh worker.
        self._remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(carry_out)

    def start(self, attempt: Attempt, name: str) -> RayTask:
        """As ``Engine``."""
        return RayTask(self._ray, self._remote.options(name=name).remote(asdict(attempt)), attempt)

    def close(self) -> None:
        """As ``Engine``."""
        if self._own:
            self._ray.shutdown()


class RayTask:
    """A task of Ray; see ``Task``."""

    def __init__(self, ray: Any, reference: Any, attempt: Attempt) -> None:
        self._ray, self._reference, self._attempt = ray, reference, attempt

    def ended(self) -> Ended | None:
        """As ``Task``."""
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        errors = self._ray.exceptions
        try:
            return Ended(**self._ray.get(self._reference))
        except errors.RayTaskError as error:  # an exception in the worker
            return Ended(code=1, reason=_last_line(error))
        except errors.RayError as error:
            return Ended(reason=f"{type(error).__name__}: {_first_line(error)}")

    def stop(self, number: int) -> None:
        """As ``Task``."""
        if not has_begun(self._attempt):
            self._ray.cancel(self._reference)

    def wait(self) -> None:
        """As ``Task``."""
        while self.ended() is None:
            time.sleep(_POLL_S)


@contextmanager
def our_signals() -> Iterator[None]:
    """Keep our handlers of signals. ``ray.init`` installs its own, which end this process within three seconds."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ENDING} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # one that Python did not install
                signal.signal(number, handler)


def _require(nodes: list[dict[str, Any]], cpus: int, gpus: float) -> None:
    """Raise ``ValueError`` unless a node can hold an attempt: Ray would wait for such a node for ever."""
    have = [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]]
    if not any(c >= cpus and g >= gpus for c, g in have):
        largest = ", ".join(f"{c:g} CPUs and {g:g} GPUs" for c, g in sorted(set(have), reverse=True))
        raise ValueError(
            f"a run asks for {cpus} CPUs (--threads) and {gpus:g} GPUs (--gpus-per-run), which no node of the cluster "
            f"has: {largest}; ask for fewer, or let a larger node join first"
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "").strip()


def _last_line(error: Exception) -> str:
    return next(reversed(str(error).strip().splitlines()), "").strip()
