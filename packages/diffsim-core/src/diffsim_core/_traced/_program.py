"""``Compiled``: the functions of a traced task, compiled by the compiler that Warp brings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsim_core._traced._functions import Functions
from diffsim_core.native import Launch, Launcher, Program, native_kernels

SOURCE = Path(__file__).with_name("_source") / "task.h"


class Compiled:
    """Launches the functions; compiled at the first launch, and then found in Warp's cache.

    Args:
        functions: what to compile.
        horizon: of the task [control steps].
        device: ``"cpu"`` or ``"cuda[:i]"``.
        on_cuda: take the source for CUDA, a world for each item; by default where the device asks for it.
    """

    def __init__(self, functions: Functions, horizon: int, device: str = "cpu", on_cuda: bool | None = None) -> None:
        text = "\n".join((SOURCE.read_text(encoding="utf-8"), functions.text()))
        dtype = functions.traced.graph.dtype
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.functions = functions
        self.on_cuda = device.startswith("cuda") if on_cuda is None else on_cuda
        self._arguments = functions.arguments()
        self._kernels = native_kernels(
            f"diffsim_task_{dtype}_{digest}" + "_cuda" * self.on_cuda,
            "block.h",
            self._arguments,
            folders=[],
            dtype=dtype,
            on_cuda=self.on_cuda,
            defines={"DS_PARAMS": 0},
            text=text,
        )
        self._horizon, self._device = horizon, device
        self.before, self.after, self.renew, self.after_vjp, self.before_vjp = map(self._program, self._arguments)

    def names(self, function: str) -> Sequence[str]:
        """The arguments that a function is given at each call, in order."""
        return [name for name in self._arguments[function].types if name not in ("num_worlds", "horizon")]

    def module(self) -> Any:
        """The Warp module of all functions: to be compiled and looked into."""
        return self._kernels.module

    def _program(self, function: str) -> Program:
        constants = {"horizon": self._horizon} if "horizon" in self._arguments[function].types else {}
        launcher = Launcher(self._kernels, device=self._device, constants=constants, threads=1)
        return launcher.program(Launch(function), given=self.names(function))
