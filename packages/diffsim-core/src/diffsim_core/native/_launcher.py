"""``Launcher``: runs an engine's step and its vector-Jacobian product, on the threads of a CPU or on CUDA."""

from __future__ import annotations

import os
import threading
from typing import Any

import warp as wp

from diffsim_core.native._module import Kernels
from diffsim_core.native._team import Job, Team

_CUDA_BLOCK = 32
"""Worlds per CUDA block: one warp each, so that a few thousand worlds reach every multiprocessor."""


class Launcher:
    """Launches the two kernels of an engine on bare addresses.

    A kernel takes ``addresses``, the number of worlds, ``integers``, ``numbers`` (its vector-Jacobian product the
    first ``vjp_numbers`` of them), and then the addresses handed to ``run``. On a CPU the same, but for the number of
    worlds, is the engine's own part of a job, see ``team.h``.

    Args:
        kernels: what to launch.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        addresses: of what stays in place.
        integers: whole numbers that do not change.
        numbers: reals that do not change.
        vjp_numbers: how many of them the vector-Jacobian product takes; all by default.
        threads: CPU threads.
    """

    def __init__(
        self,
        kernels: Kernels,
        *,
        device: str,
        addresses: tuple[int, ...],
        integers: tuple[int, ...] = (),
        numbers: tuple[float, ...] = (),
        vjp_numbers: int | None = None,
        threads: int,
    ) -> None:
        self.kernels = kernels
        self.threads = threads
        self.on_cuda = device.startswith("cuda")
        self._device = wp.get_device(device)
        self._job = Job(addresses + integers, numbers)
        self._before = addresses
        self._after = ((*integers, *numbers), (*integers, *numbers[:vjp_numbers]))
        self._team: Team | None = None
        self._commands: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()

    def run(self, kind: int, num_worlds: int, pointers: tuple[int, ...], worth: int) -> None:
        """Run the step (``kind`` 0) or its vector-Jacobian product (1) of all worlds.

        ``worth`` is how many threads the work deserves; no more than there are will take part.
        """
        if self.on_cuda:
            self._launch_cuda(kind, num_worlds, pointers)
            return
        kernels, blocks = self.kernels, self.kernels.blocks(num_worlds)
        with self._lock:
            if self._team is None:
                self._team = Team(kernels.lead, kernels.follow, self._job, self.threads)
            threads = max(1, min(self.threads, blocks, worth))
            self._team.run(kind, num_worlds, blocks, pointers, threads - 1)

    def _launch_cuda(self, kind: int, num_worlds: int, pointers: tuple[int, ...]) -> None:
        # Replaying a recorded launch with new addresses takes a quarter of the time of a fresh one.
        with self._lock:
            command = self._commands.get((kind, num_worlds))
            if command is None:
                command = self._commands[kind, num_worlds] = self._record_cuda(kind, num_worlds, pointers)
            for parameter, pointer in zip(command.params[-len(pointers) :], pointers, strict=True):
                parameter.value = pointer
            command.launch()

    def _record_cuda(self, kind: int, num_worlds: int, pointers: tuple[int, ...]) -> Any:
        return wp.launch(
            self.kernels.vjp if kind else self.kernels.step,
            dim=num_worlds,
            inputs=[*self._before, num_worlds, *self._after[kind], *pointers],
            device=self._device,
            block_dim=_CUDA_BLOCK,
            record_cmd=True,
        )


def default_threads() -> int:
    """Every core this process may use, or ``DIFFSIM_NUM_THREADS``.

    Raises:
        ValueError: if that is not a positive whole number.
    """
    named = os.environ.get("DIFFSIM_NUM_THREADS")
    if named is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not named.isdigit() or int(named) < 1:
        raise ValueError(f"DIFFSIM_NUM_THREADS={named!r} must be a positive whole number")
    return int(named)
