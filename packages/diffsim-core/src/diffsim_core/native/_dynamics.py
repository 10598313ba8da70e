"""``NativeDynamics``: what simulators made of native functions share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from diffsim_core._buffer import Buffer
from diffsim_core._remade import Remade
from diffsim_core.native._launcher import Program


class NativeDynamics(Remade, ABC):
    """A simulator whose step and vector-Jacobian product are a program each; see :class:`diffsim_core.Dynamics`.

    A subclass sets ``_step`` and ``_vjp``, whose arguments are those of ``step_arguments``.
    """

    _step: Program
    _vjp: Program

    @abstractmethod
    def _worth(self, num_worlds: int) -> int:
        """Threads that a step of so many worlds deserves."""

    def saved_size(self, num_worlds: int) -> int:
        """Nothing but the state is kept for the backward pass."""
        return 0

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        """See :class:`diffsim_core.Dynamics`."""
        addresses = [buffer.ptr for buffer in (*state, *control, *out, ok)]
        num_worlds = ok.shape[0]
        self._step.run(num_worlds, self._worth(num_worlds), [*addresses, 0 if saved is None else saved.ptr])

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        """See :class:`diffsim_core.Dynamics`."""
        buffers = (*state, *control, ok, saved, *out_cotangent, *in_cotangent)
        num_worlds = ok.shape[0]
        self._vjp.run(num_worlds, self._worth(num_worlds), [buffer.ptr for buffer in buffers])


def check_step(dt: float, substeps: int, dtype: str, threads: int | None) -> None:
    """Check what a simulator is made with.

    Raises:
        ValueError: for a duration, a number of sub-steps, a number type or a number of threads that makes no sense.
    """
    if not 0 < dt < math.inf:
        raise ValueError(f"dt={dt!r} must be positive seconds")
    if substeps < 1:
        raise ValueError(f"substeps={substeps!r} must be at least 1")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype={dtype!r} must be 'float32' or 'float64'")
    if threads is not None and threads < 1:
        raise ValueError(f"threads={threads!r} must be at least 1")
