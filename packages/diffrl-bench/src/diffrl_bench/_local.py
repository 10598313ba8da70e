"""Workers that are processes of this machine; they share its GPUs out among them."""

from __future__ import annotations

import os
import subprocess

from ._attempts import Attempt, GuardedProcess


class LocalEngine:
    """Processes of this machine, each with the GPUs that it asks for.

    Args:
        jobs: attempts at a time.
        gpus_per_run: GPUs of each: a whole number, or the part of one; 0 leaves the choice to ``--device``.

    Raises:
        ValueError: this machine has fewer GPUs.
    """

    poll_s = 0.1

    def __init__(self, jobs: int, gpus_per_run: float = 0.0) -> None:
        self._groups = shares(visible_gpus(), gpus_per_run) if gpus_per_run else []
        self.slots = min(jobs, len(self._groups)) if gpus_per_run else jobs
        self._held: dict[int, GuardedProcess] = {}

    def start(self, attempt: Attempt, name: str) -> GuardedProcess:
        """As ``Engine``."""
        if not self._groups:
            return GuardedProcess(attempt)
        free = next(k for k in range(len(self._groups)) if k not in self._held or self._held[k].ended() is not None)
        self._held[free] = GuardedProcess(attempt, {"CUDA_VISIBLE_DEVICES": self._groups[free]})
        return self._held[free]

    def close(self) -> None:
        """As ``Engine``."""


def shares(gpus: list[str], per_run: float) -> list[str]:
    """The GPUs of each of the runs that fit: ``["0", "0", "1", "1"]`` for two GPUs and a half for each run.

    Raises:
        ValueError: none fits.
    """
    if per_run < 1:
        return [gpu for gpu in _require(gpus, 1) for _ in range(int(1 / per_run + 1e-9))]
    size = int(per_run)
    _require(gpus, size)
    return [",".join(gpus[k : k + size]) for k in range(0, len(gpus) - size + 1, size)]


def _require(gpus: list[str], count: int) -> list[str]:
    if len(gpus) < count:
        raise ValueError(f"--gpus-per-run needs {count} GPUs, and this machine shows {len(gpus)}; ask for fewer")
    return gpus


def visible_gpus() -> list[str]:
    """The GPUs that a process here may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    try:
        out = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(k) for k, _ in enumerate(line for line in out.splitlines() if line.startswith("GPU "))]
