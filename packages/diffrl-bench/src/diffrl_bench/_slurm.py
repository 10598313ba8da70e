"""Workers that are jobs of Slurm, through submitit (extra ``slurm``)."""

from __future__ import annotations

import difflib
import importlib
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ._attempts import Attempt, Ended, GuardedProcess, carry_out, has_begun

OPTIONS: dict[str, type] = {
    **dict.fromkeys(("partition", "account", "qos", "constraint", "nodelist", "exclude", "gres", "comment"), str),
    **dict.fromkeys(("mail_user", "mail_type"), str),
    "timeout_min": int,
    "mem_gb": float,
    "signal_delay_s": int,
}
"""Options of a job, as submitit names them."""
_OF_SUBMITIT = ("timeout_min", "mem_gb")
_POLL_S = 1.0
_TIME_MIN = 240
"""Time of a job [min]; a run that needs longer goes on in the next one."""
_TIMES = 1000
"""Times that a job may reach its end so."""
_WARNING_S = 180
"""Time between Slurm's warning and the end of a job [s], for a checkpoint."""


class SlurmEngine:
    """A job of Slurm for each attempt. A job that reaches the end of its time, or is preempted, is queued again.

    Args:
        folder: for submitit's files, on a file system that all nodes share.
        options: see ``OPTIONS``.
        local: run the same jobs as processes of this machine, without Slurm, to try them.
        cpus: processors of an attempt.
        gpus: GPUs of an attempt, a whole number.
        jobs: jobs in the queue at a time.

    Raises:
        ValueError: the extra is not installed, there is no Slurm here, or an option is unknown or malformed.
    """

    poll_s = 1.0

    def __init__(
        self, folder: Path, options: Mapping[str, str], *, local: bool, cpus: int, gpus: float, jobs: int
    ) -> None:
        try:
            submitit: Any = importlib.import_module("submitit")
        except ImportError:
            raise ValueError("--on slurm needs submitit: pip install 'diffrl-bench[slurm]'") from None
        if gpus != int(gpus):
            raise ValueError(f"--gpus-per-run is {gpus:g}; Slurm gives whole GPUs")
        self._submitit, self.slots = submitit, jobs
        given = {"timeout_min": _TIME_MIN, "signal_delay_s": _WARNING_S, **read_options(options)}
        try:
            self._executor = submitit.AutoExecutor(
                folder, "local" if local else "slurm", slurm_max_num_timeout=_TIMES, local_max_num_timeout=_TIMES
            )
        except RuntimeError as error:
            raise ValueError(f"--on slurm: {error} --address local tries the jobs without Slurm") from None
        named = {name if name in _OF_SUBMITIT else f"slurm_{name}": value for name, value in given.items()}
        resources = {"nodes": 1, "tasks_per_node": 1, "cpus_per_task": cpus, "gpus_per_node": int(gpus)}
        self._executor.update_parameters(stderr_to_stdout=True, **resources, **named)

    def start(self, attempt: Attempt, name: str) -> SlurmTask:
        """As ``Engine``."""
        self._executor.update_parameters(name=name)
        return SlurmTask(self._submitit, self._executor.submit(SlurmJob(attempt)), attempt)

    def close(self) -> None:
        """As ``Engine``."""


class SlurmJob:
    """What a job does; submitit calls ``checkpoint`` before the end of its time, and where it is preempted."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = asdict(attempt)
        self._process: GuardedProcess | None = None

    def __call__(self) -> dict[str, Any]:
        """Carry the attempt out."""
        return carry_out(self._attempt, self._hold)

    def _hold(self, process: GuardedProcess) -> None:
        self._process = process

    def checkpoint(self) -> Any:
        """Stop the training after its update; the job that goes on with it."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM)
            self._process.wait()
        helpers: Any = importlib.import_module("submitit.helpers")
        return helpers.DelayedSubmission(SlurmJob(Attempt(**self._attempt)))


class SlurmTask:
    """A job of Slurm; see ``Task``."""

    def __init__(self, submitit: Any, job: Any, attempt: Attempt) -> None:
        self._submitit, self._job, self._attempt = submitit, job, attempt
        self._ended: Ended | None = None

    def ended(self) -> Ended | None:
        """As ``Task``. For a job that left no result it takes some seconds, in which its file may still appear."""
        if self._ended is None and self._job.done():
            try:
                self._ended = Ended(**self._job.result())
            except self._submitit.core.utils.UncompletedJobError:
                self._ended = Ended(reason=f"job {self._job.job_id} ended without a result, {self._job.state}")
            except self._submitit.core.utils.FailedJobError as error:
                self._ended = Ended(code=1, reason=f"job {self._job.job_id}: {_last_line(error)}")
        return self._ended

    def stop(self, number: int) -> None:
        """As ``Task``."""
        if not has_begun(self._attempt):
            self._job.cancel(check=False)

    def wait(self) -> None:
        """As ``Task``."""
        while self.ended() is None:
            time.sleep(_POLL_S)


def read_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Options of a job from their texts.

    Raises:
        ValueError: one is unknown or malformed.
    """
    found = {}
    for name, text in options.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.5) or sorted(OPTIONS)
            raise ValueError(f"--slurm {name}={text}: unknown option; known: {', '.join(near)}")
        try:
            found[name] = OPTIONS[name](text)
        except ValueError:
            raise ValueError(f"--slurm {name}={text}: expected {OPTIONS[name].__name__}") from None
    return found


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("-", "You can"))]
    return next((line for line in reversed(lines) if not line.startswith(("- /", "or at"))), "it failed")
